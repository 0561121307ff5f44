#!/bin/sh
# Installs TensorRT 8.5.3 for a machine with a GPU, from its wheel on PyPI:
#
#   stack/deps/tensorrt.sh DIR            ->  DIR/lib/libnvinfer.so.8, …
#   stack/deps/tensorrt.sh --pack OUT     ->  OUT/part-00, …, and OUT/tools/unpack.sh
#
# The second packs it for a machine without network, in parts of at most 56 MiB.
# There, bring part-*/* and tools/* together in one folder and run `sh unpack.sh DIR`.
#
# TENSORRT_HEADERS, a folder of NvInfer.h, NvOnnxParser.h and what they include, of
# the same version, is installed or packed too, to DIR/include: the wheel has no
# headers. (NVIDIA/TensorRT, include/, of release 8.5; onnx/onnx-tensorrt, 8.5-GA.)
#
# Later wheels fetch their libraries from elsewhere. Only x86-64; on Jetson,
# TensorRT comes with JetPack.
set -eu

wheel=tensorrt==8.5.3.1
part_size=56M

fail() {
	echo "tensorrt.sh: $*" >&2
	exit 1
}

pack=
[ "${1:-}" != --pack ] || { pack=yes; shift; }
[ $# -eq 1 ] || fail "usage: tensorrt.sh [--pack] DIR"
mkdir -p -- "$1"
dir=$(cd -- "$1" && pwd)
command -v zstd >/dev/null || fail "zstd is needed (Debian: apt-get install zstd)"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 with pip is needed (Debian: apt-get install python3-pip)"

work=$(mktemp -d -- "$dir/.tensorrt.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM

echo "$wheel --hash=sha256:00375391073e51c1d662cc116f5472a921f27d75bb617c0195b3479633c625f3" >"$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
	--implementation cp --python-version 3.10 --platform manylinux_2_17_x86_64 \
	--dest "$work" -r "$work/requirements.txt" >"$work/pip.log" 2>&1 || {
	cat "$work/pip.log" >&2
	fail "pip could not download TensorRT; is the package index reachable?"
}
python3 - "$work/lib" "$work"/tensorrt-*.whl <<'PY' || fail "the wheel does not hold TensorRT's libraries"
import os, sys, zipfile

wanted = ("libnvinfer.so.8", "libnvinfer_builder_resource.so.8.5.3", "libnvonnxparser.so.8")
os.makedirs(sys.argv[1])
with zipfile.ZipFile(sys.argv[2]) as z:
    for name in wanted:
        with z.open("tensorrt/" + name) as source, open(os.path.join(sys.argv[1], name), "wb") as target:
            while block := source.read(1 << 20):
                target.write(block)
PY
[ -z "${TENSORRT_HEADERS:-}" ] || cp -R "$TENSORRT_HEADERS" "$work/include"

# What is left to do where the libraries will be.
cat >"$work/finish.sh" <<'SH'
#!/bin/sh
# finish.sh DIR: makes the names that programs link with.
set -eu
lib=$1/lib
ln -sf libnvinfer.so.8 "$lib/libnvinfer.so"
ln -sf libnvonnxparser.so.8 "$lib/libnvonnxparser.so"
# The parser wants one function of the library of plugins, which itself wants cuBLAS
# 11 and cuDNN 8. Where those are missing, one that has nothing else serves all
# models but those with plugins.
if ! ldconfig -p | grep -q libcudnn.so.8; then
	echo 'extern "C" bool initLibNvInferPlugins(void*, char const*) { return true; }' |
		g++ -x c++ -shared -fPIC -O2 -Wl,-soname,libnvinfer_plugin.so.8 -o "$lib/libnvinfer_plugin.so.8" -
fi
SH

if [ -z "$pack" ]; then
	rm -rf -- "$dir/lib" "$dir/include"
	mv "$work/lib" "$dir/lib"
	[ ! -d "$work/include" ] || mv "$work/include" "$dir/include"
	sh "$work/finish.sh" "$dir"
	echo "TensorRT 8.5.3 is in $dir"
	exit 0
fi

rm -rf -- "$dir"/part-?? "$dir/tools"
mkdir "$dir/tools"
names=lib
[ ! -d "$work/include" ] || names="lib include"
# shellcheck disable=SC2086 # two names
tar -C "$work" -cf "$work/all.tar" $names
zstd -q -T0 -10 --rm "$work/all.tar"
split -b $part_size -d -a 2 "$work/all.tar.zst" "$work/tensorrt.part-"
for part in "$work"/tensorrt.part-*; do
	mkdir "$dir/part-${part##*-}"
	mv "$part" "$dir/part-${part##*-}/"
done
cp "$work/finish.sh" "$(command -v zstd)" "$dir/tools/"
cat >"$dir/tools/unpack.sh" <<'SH'
#!/bin/sh
# unpack.sh DIR: TensorRT from the parts beside this file.
set -eu
here=$(dirname -- "$0")
mkdir -p -- "$1"
chmod +x "$here/zstd"
cat "$here"/tensorrt.part-?? | "$here/zstd" -dq | tar -C "$1" -xf -
sh "$here/finish.sh" "$1"
echo "TensorRT is in $1"
SH
echo "TensorRT 8.5.3 in $(ls -d "$dir"/part-?? | wc -l) parts is in $dir"

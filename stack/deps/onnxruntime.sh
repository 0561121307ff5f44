#!/bin/sh
# Installs ONNX Runtime's shared library into a folder:
#
#   stack/deps/onnxruntime.sh DIR     ->  DIR/libonnxruntime.so
#
# It comes out of the wheel on the Python package index, so a machine needs
# nothing but `python3 -m pip`. A second call does nothing. The folder appears
# whole or not at all. ONNXRUNTIME_WHEEL may name a wheel that is already here, and
# ONNXRUNTIME_MACHINE another machine, as `uname -m` does, that the library is for.
set -eu

version=1.31.1
# One wheel for each platform, whatever the local Python is: so the library's
# SHA-256 can be stated.
machine=${ONNXRUNTIME_MACHINE:-$(uname -m)}
case $machine in
x86_64) platform=manylinux_2_28_x86_64 sha256=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3 ;;
aarch64) platform=manylinux_2_28_aarch64 sha256=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467 ;;
*) platform= sha256= ;;
esac

fail() {
	echo "onnxruntime.sh: $*" >&2
	exit 1
}

[ $# -eq 1 ] || fail "usage: onnxruntime.sh DIR"
[ -n "$platform" ] || fail "no ONNX Runtime $version is known for $machine; put libonnxruntime.so there by hand"
dir=$1
library=libonnxruntime.so.$version

if [ -e "$dir/libonnxruntime.so" ] && [ "$(readlink "$dir/libonnxruntime.so")" = "$library" ] && [ -s "$dir/$library" ]; then
	exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || fail "python3 with pip is needed to fetch onnxruntime $version (Debian: apt-get install python3-pip)"

parent=$(dirname -- "$dir")
mkdir -p -- "$parent"
work=$(mktemp -d -- "$parent/.onnxruntime.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM

wheel=${ONNXRUNTIME_WHEEL:-}
if [ -z "$wheel" ]; then
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--implementation cp --python-version 3.11 --abi cp311 --platform "$platform" \
		--dest "$work/wheel" "onnxruntime==$version" >"$work/pip.log" 2>&1 || {
		cat "$work/pip.log" >&2
		fail "pip could not download onnxruntime==$version; is the package index reachable?"
	}
	wheel=$(find "$work/wheel" -name 'onnxruntime-*.whl')
fi
[ -f "$wheel" ] || fail "no wheel at '$wheel'"

mkdir "$work/new"
python3 - "$wheel" "onnxruntime/capi/$library" "$work/new/$library" <<'PY' || fail "$wheel holds no onnxruntime/capi/$library"
import shutil, sys, zipfile

wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as z, z.open(member) as src, open(target, "wb") as dst:
    shutil.copyfileobj(src, dst, 1 << 20)
PY

echo "$sha256  $work/new/$library" | sha256sum --check --status ||
	fail "$library from $wheel is not the expected file (SHA-256 $sha256)"

chmod 755 "$work/new" "$work/new/$library"
ln -s "$library" "$work/new/libonnxruntime.so"
rm -rf -- "$dir"
mv -T -- "$work/new" "$dir" || fail "could not put the library into $dir"
echo "onnxruntime $version is in $dir"

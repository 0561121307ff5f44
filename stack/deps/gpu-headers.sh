#!/bin/sh
# Installs the headers that libgpushim.so is compiled with into a folder:
#
#   stack/deps/gpu-headers.sh DIR     ->  DIR/tensorrt/NvInfer.h, DIR/cuda/cuda.h
#
# TensorRT's come out of a crate, CUDA's out of wheels, so a machine needs no CUDA
# but `cargo` and `python3 -m pip`. They are headers only: the library that they
# make runs where that version of TensorRT is installed. A second call does
# nothing. The folder appears whole or not at all.
set -eu

crate=trtx-sys
crate_version=0.9.1
tensorrt=TRT-Enterprise-11.4

fail() {
	echo "gpu-headers.sh: $*" >&2
	exit 1
}

[ $# -eq 1 ] || fail "usage: gpu-headers.sh DIR"
dir=$1
[ ! -f "$dir/tensorrt/NvInfer.h" ] || [ ! -f "$dir/cuda/cuda.h" ] || exit 0

command -v cargo >/dev/null || fail "cargo is needed to fetch the headers of TensorRT (Debian: apt-get install cargo)"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 with pip is needed to fetch the headers of CUDA (Debian: apt-get install python3-pip)"

mkdir -p -- "$(dirname -- "$dir")"
parent=$(cd -- "$(dirname -- "$dir")" && pwd)
work=$(mktemp -d -- "$parent/.gpu-headers.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Cargo checks the crate against the registry's checksum.
mkdir -p "$work/crate/src" "$work/new/tensorrt" "$work/new/cuda"
: >"$work/crate/src/lib.rs"
cat >"$work/crate/Cargo.toml" <<TOML
[package]
name = "headers"
version = "0.0.0"
edition = "2021"
[dependencies]
$crate = "=$crate_version"
[workspace]
TOML
(cd "$work/crate" && cargo fetch --quiet && cargo metadata --format-version 1 --offline --quiet >"$work/metadata.json") ||
	fail "cargo could not fetch $crate $crate_version; is the registry reachable?"
source=$(python3 - "$work/metadata.json" "$crate" <<'PY'
import json, os, sys

for p in json.load(open(sys.argv[1]))["packages"]:
    if p["name"] == sys.argv[2]:
        print(os.path.dirname(p["manifest_path"]))
PY
)
[ -f "$source/TensorRT-Headers/$tensorrt/NvInfer.h" ] || fail "$crate $crate_version holds no $tensorrt/NvInfer.h"
cp -R "$source/TensorRT-Headers/$tensorrt/." "$work/new/tensorrt/"

# The same wheels for every machine: headers do not depend on the processor.
cat >"$work/requirements.txt" <<TXT
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
TXT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
	--implementation py --python-version 3.11 --platform manylinux2014_x86_64 \
	--dest "$work/wheels" -r "$work/requirements.txt" >"$work/pip.log" 2>&1 || {
	cat "$work/pip.log" >&2
	fail "pip could not download the headers of CUDA; is the package index reachable?"
}
python3 - "$work/new/cuda" "$work"/wheels/*.whl <<'PY' || fail "the wheels hold no headers"
import os, sys, zipfile

prefix = "nvidia/cu13/include/"
for wheel in sys.argv[2:]:
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if name.startswith(prefix) and not name.endswith("/"):
                target = os.path.join(sys.argv[1], name[len(prefix):])
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with open(target, "wb") as f:
                    f.write(z.read(name))
PY
[ -f "$work/new/cuda/cuda.h" ] || fail "the wheels hold no cuda.h"

chmod 755 "$work/new"
rm -rf -- "$dir"
mv -T -- "$work/new" "$dir" || fail "could not put the headers into $dir"
echo "headers of TensorRT 11.4 and CUDA 13.0 are in $dir"

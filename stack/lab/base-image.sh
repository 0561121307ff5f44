#!/bin/sh
# Makes base images for the Dockerfiles where no registry can be reached:
#
#   stack/lab/base-image.sh make FILE.tar    a small Debian with a C compiler, Python,
#                                            Go and the modules of this checkout
#   stack/lab/base-image.sh load FILE.tar    import it into the daemon as $BASE_IMAGE
#                                            and, with Python only, $RUNTIME_IMAGE
#
# `make` downloads packages and modules, needs root, and does nothing if the file is
# newer than go.sum. `load` does nothing if the daemon has the images of this file.
set -eu

fail() {
	echo "base-image.sh: $*" >&2
	exit 1
}

BASE_IMAGE=${BASE_IMAGE:-faas-gpu-lab/golang:latest}
RUNTIME_IMAGE=${RUNTIME_IMAGE:-faas-gpu-lab/runtime:latest}
source=$(cd "$(dirname "$0")/../.." && pwd)

make_file() {
	file=$1
	[ -e "$file" ] && [ "$file" -nt "$source/go.sum" ] && [ "$file" -nt "$0" ] && return
	[ "$(id -u)" = 0 ] || fail "debootstrap needs root"
	command -v debootstrap >/dev/null || fail "debootstrap is needed (Debian: apt-get install debootstrap)"
	mkdir -p "$(dirname "$file")"
	work=$(mktemp -d "$(dirname "$file")/base.XXXXXX")
	trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
	root=$work/root
	debootstrap --variant=minbase --include=gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,ca-certificates,python3 \
		bookworm "$root" >"$work/log" 2>&1 || fail "debootstrap: $(tail -n 5 "$work/log")"
	rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/locale "$root"/usr/share/man
	mkdir -p "$root/usr/local" "$root/go/pkg/mod"
	cp -a "$(go env GOROOT)" "$root/usr/local/go"
	rm -rf "$root"/usr/local/go/test "$root"/usr/local/go/api "$root"/usr/local/go/doc
	# Those of this checkout and no others.
	(cd "$source" && GOMODCACHE="$root/go/pkg/mod" GOFLAGS=-modcacherw \
		GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go mod download)
	tar -C "$root" --numeric-owner -cf "$work/tar" .
	mv "$work/tar" "$file"
}

load_file() {
	file=$1
	sum=$(sha256sum "$file" | cut -d ' ' -f 1)
	for image in "$BASE_IMAGE" "$RUNTIME_IMAGE"; do
		have=$(docker image inspect --format '{{index .Config.Labels "file"}}' "$image" 2>/dev/null || true)
		[ "$have" != "$sum" ] || continue
		case $image in
		"$BASE_IMAGE")
			docker import -c "LABEL file=$sum" \
				-c 'ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-buildvcs=false' \
				"$file" "$image" >/dev/null
			;;
		*)
			# A program's surroundings: the C and C++ libraries, Python, and a /tmp.
			tar --wildcards --delete -f - './usr/local/go/*' './go/*' './usr/lib/gcc/*' './usr/lib/gcc-cross/*' './usr/aarch64-linux-gnu/*' './usr/include/*' <"$file" |
				docker import -c "LABEL file=$sum" - "$image" >/dev/null
			;;
		esac
	done
}

[ $# -eq 2 ] || fail "usage: base-image.sh make|load FILE.tar"
case $1 in
make) make_file "$2" ;;
load) load_file "$2" ;;
*) fail "$1 is neither make nor load" ;;
esac

#!/bin/sh
# Everything that needs Docker, with a daemon of its own, and the programs for arm64:
#
#   stack/lab/test-docker.sh BUILD
#
# BUILD is the folder of `make build` and `make deps`; base image, daemon and result
# are kept in BUILD/docker. `make test-docker` sets the variables. The last line is the
# result as JSON. A part that fails does not keep the others from being tested.
set -eu
cd "$(dirname "$0")/../.."
# Without one of these, tests would be skipped.
: "${CHROMIUM:?a program}" "${GATEWAY:?a program}" "${FAAS_CLI:?a program}" "${QEMU_AARCH64:?a program}" "${DOCKER_COMPOSE:?a program}" "${PROMETHEUS:?a program}" "${ONNXRUNTIME_LIB:?a library}"
[ -x "$PROMETHEUS" ] || { echo "test-docker.sh: there is no $PROMETHEUS (stack/deps/prometheus.sh)" >&2; exit 1; }

if [ "${2:-}" != inside ]; then
	mkdir -p "$1"
	build=$(cd "$1" && pwd)
	echo "make the base image"
	sh stack/lab/base-image.sh make "$build/docker/base.tar"
	# The daemon's own client: others may lack a builder.
	PATH=/usr/bin:$PATH exec sh stack/lab/with-dockerd.sh "$build/docker/daemon" sh "$0" "$build" inside
fi

build=$1
export BASE_IMAGE=faas-gpu-lab/golang:latest RUNTIME_IMAGE=faas-gpu-lab/runtime:latest
export ARM64_SYSROOT=/usr/aarch64-linux-gnu ARM64_ONNXRUNTIME="$build/onnxruntime-arm64/libonnxruntime.so"
failed=

# part NAME COMMAND...: what goes on if it fails.
part() {
	name=$1
	shift
	echo "$name"
	"$@" || { failed="$failed, $name"; return 1; }
}

build_image() { # TARGET NAME [ARGUMENT...]
	target=$1 image=$2
	shift 2
	DOCKER_BUILDKIT=1 docker build --quiet --target "$target" --tag "$image" --build-arg GO_IMAGE=$BASE_IMAGE "$@" . >/dev/null
}

# image_arm64 TARGET PROGRAM: the image is for arm64, and its program runs.
image_arm64() {
	build_image "$1" "faas-gpu-arm64/$1" --platform linux/arm64 --build-arg RUNTIME_IMAGE=faas-gpu-lab/runtime-arm64:latest \
		--build-arg ONNXRUNTIME_IMAGE=faas-gpu-lab/onnxruntime-arm64:latest || return
	architecture=$(docker image inspect --format '{{.Architecture}}' "faas-gpu-arm64/$1")
	[ "$architecture" = arm64 ] || { echo "the image $1 is for $architecture" >&2; return 1; }
	container=$(docker create --platform linux/arm64 "faas-gpu-arm64/$1" none)
	docker cp "$container:$2" "$build/docker/arm64-program" >/dev/null
	docker rm "$container" >/dev/null
	# fwatchdog has nothing to start, and says so.
	qemu-aarch64 -L $ARM64_SYSROOT "$build/docker/arm64-program" -help 2>&1 | grep -E '^VARIABLE|fprocess' >/dev/null ||
		{ echo "the program $2 of the image $1 for arm64 does not run" >&2; return 1; }
}

images() {
	for target in go-trt-builder fwatchdog provider cachemgrd; do
		image=faas-gpu/$target:latest
		[ $target != provider ] || image=faas-gpu/gpu-provider:latest
		echo "docker build $image"
		build_image $target "$image" --build-arg RUNTIME_IMAGE=$RUNTIME_IMAGE --build-arg ONNXRUNTIME_IMAGE=faas-gpu-lab/onnxruntime:latest || return
	done
	for image in gpu-provider cachemgrd; do
		docker run --rm --network none "faas-gpu/$image:latest" -help | grep '^VARIABLE' >/dev/null ||
			{ echo "the image $image does not run" >&2; return 1; }
	done
}

images_arm64() {
	image_arm64 provider /usr/bin/gpu-provider && image_arm64 fwatchdog /fwatchdog && image_arm64 cachemgrd /usr/bin/cachemgrd
}

user_interface() {
	rm -rf "$build/artifacts"
	ARTIFACTS="$build/artifacts" go test -count=1 -run '^TestUI$' ./stack/e2e
}

# What a run that was killed left.
for kind in container network volume; do docker $kind prune --force >/dev/null; done
echo "load the base image"
sh stack/lab/base-image.sh load "$build/docker/base.tar"
# The folder out/onnxruntime, and nothing else.
tar -C "$build" --transform 's,^onnxruntime,out/onnxruntime,' -cf - onnxruntime | docker import - faas-gpu-lab/onnxruntime:latest >/dev/null
tar -C "$build" --transform 's,^onnxruntime-arm64,out/onnxruntime,' -cf - onnxruntime-arm64 | docker import - faas-gpu-lab/onnxruntime-arm64:latest >/dev/null
# `docker import` knows no other platform.
printf 'FROM scratch\nCOPY lib /lib\n' | DOCKER_BUILDKIT=1 docker build --quiet --platform linux/arm64 \
	--tag faas-gpu-lab/runtime-arm64:latest -f - $ARM64_SYSROOT >/dev/null

arm64_ok=false
part "build the images" images
part "build the images for arm64" images_arm64 && arm64_ok=true

host=$DOCKER_HOST
export DOCKER_TEST_HOST="$host" DOCKER_TEST_RESULT="$build/docker/result.json"
unset DOCKER_HOST
echo '{}' >"$DOCKER_TEST_RESULT"
part "go test: the runtime with processes" go test -count=1 -timeout 5m -run Conformance ./provider/runtime/process || :
part "go test: the runtime with containers" go test -race -count=1 -timeout 5m ./provider/runtime/docker || :
part "go test: functions" go test -count=1 -timeout 10m ./stack/e2e/docker || :
part "go test: arm64" go test -count=1 -timeout 5m ./stack/e2e/arm64 || arm64_ok=false
part "go test: the page of the gateway" user_interface || :
# Of former builds.
DOCKER_HOST=$host docker image prune --force >/dev/null
DOCKER_HOST=$host docker builder prune --force --keep-storage 2GB >/dev/null
steps=$(find "$build/artifacts" -name 'ui-*.png' 2>/dev/null | wc -l)
sed "s/}\$/,\"ui_steps\":$steps,\"arm64_ok\":$arm64_ok}/; s/{,/{/" "$DOCKER_TEST_RESULT"
[ -z "$failed" ] || { echo "failed: ${failed#, }" >&2; exit 1; }

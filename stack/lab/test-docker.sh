#!/bin/sh
# Everything that needs Docker, with a daemon of its own:
#
#   stack/lab/test-docker.sh BUILD
#
# BUILD is the folder of `make build` and `make deps`; base image, daemon and result
# are kept in BUILD/docker. The last line is the result as JSON.
set -eu
cd "$(dirname "$0")/../.."

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
# What a run that was killed left.
for kind in container network volume; do docker $kind prune --force >/dev/null; done
echo "load the base image"
sh stack/lab/base-image.sh load "$build/docker/base.tar"
# The folder out/onnxruntime, and nothing else.
tar -C "$build" --transform 's,^,out/,' -cf - onnxruntime | docker import - faas-gpu-lab/onnxruntime:latest >/dev/null

for target in go-trt-builder fwatchdog provider cachemgrd; do
	image=faas-gpu/$target:latest
	[ $target != provider ] || image=faas-gpu/gpu-provider:latest
	echo "docker build $image"
	DOCKER_BUILDKIT=1 docker build --quiet --target $target --tag "$image" \
		--build-arg GO_IMAGE=$BASE_IMAGE --build-arg RUNTIME_IMAGE=$RUNTIME_IMAGE \
		--build-arg ONNXRUNTIME_IMAGE=faas-gpu-lab/onnxruntime:latest . >/dev/null
done
for image in gpu-provider cachemgrd; do
	docker run --rm --network none "faas-gpu/$image:latest" -help | grep '^VARIABLE' >/dev/null ||
		{ echo "the image $image does not run" >&2; exit 1; }
done

export DOCKER_TEST_HOST="$DOCKER_HOST" DOCKER_TEST_RESULT="$build/docker/result.json"
unset DOCKER_HOST
rm -f "$DOCKER_TEST_RESULT"
echo "go test: the runtime"
go test -race -count=1 -timeout 5m ./provider/runtime/docker
echo "go test: functions"
go test -count=1 -timeout 5m ./stack/e2e/docker
# Of former builds.
DOCKER_HOST=$DOCKER_TEST_HOST docker image prune --force >/dev/null
DOCKER_HOST=$DOCKER_TEST_HOST docker builder prune --force --keep-storage 2GB >/dev/null
cat "$DOCKER_TEST_RESULT"

# The images of faas-gpu:
#
#   docker build --target provider       -t faas-gpu/gpu-provider .
#   docker build --target cachemgrd      -t faas-gpu/cachemgrd .
#   docker build --target fwatchdog      -t faas-gpu/fwatchdog .        for templates of other languages
#   docker build --target go-trt-builder -t faas-gpu/go-trt-builder .   for the template go-trt
#
# It takes BuildKit (before Engine 23: DOCKER_BUILDKIT=1). The first three are made for
# another machine with --platform linux/arm64 or linux/amd64: compilers run on this
# one. The base images can be replaced by build arguments: GO_IMAGE has Go, a C
# compiler and a shell; RUNTIME_IMAGE glibc and libstdc++, for ONNX Runtime;
# ONNXRUNTIME_IMAGE the library in /out/onnxruntime, which is downloaded unless that is
# given.
ARG GO_IMAGE=golang:1.26-bookworm
ARG RUNTIME_IMAGE=debian:12-slim
ARG ONNXRUNTIME_IMAGE=onnxruntime-download

FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS source
WORKDIR /usr/src/faas-gpu
COPY go.mod go.sum ./
RUN go mod download
COPY . .

# Compiles the watchdog once, as functions are built and as they are tested, so
# that both take seconds and no network.
FROM source AS go-trt-builder
ENV FAAS_GPU_SOURCE=/usr/src/faas-gpu CGO_ENABLED=0
RUN go build -trimpath ./watchdog/... && go test -run '^$' ./watchdog

FROM source AS static-programs
ARG TARGETARCH
RUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w" -o /out/ ./provider/cmd/gpu-provider ./watchdog/cmd/fwatchdog

FROM scratch AS fwatchdog
COPY --from=static-programs /out/fwatchdog /fwatchdog

FROM scratch AS provider
COPY --from=static-programs /out/gpu-provider /usr/bin/gpu-provider
ENV port=8081
EXPOSE 8081
ENTRYPOINT ["/usr/bin/gpu-provider"]

FROM source AS onnxruntime-download
ARG TARGETARCH
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
RUN case $TARGETARCH in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; *) machine=$TARGETARCH ;; esac \
 && ONNXRUNTIME_MACHINE=$machine sh stack/deps/onnxruntime.sh /out/onnxruntime

FROM --platform=$BUILDPLATFORM ${ONNXRUNTIME_IMAGE} AS onnxruntime

FROM source AS cgo-programs
ARG TARGETARCH
ARG BUILDARCH
# As in the Makefile: for go-nvml.
ENV CGO_CFLAGS="-O2 -g -Wno-deprecated-declarations" CGO_LDFLAGS="-O2 -g -Wl,-z,lazy"
RUN case $TARGETARCH in arm64) CC=aarch64-linux-gnu-gcc ;; amd64) CC=x86_64-linux-gnu-gcc ;; esac \
 && if [ "$TARGETARCH" = "$BUILDARCH" ]; then CC=gcc; fi \
 && if ! command -v "$CC"; then apt-get update && apt-get install -y --no-install-recommends \
      "gcc-$(echo "${CC%-gcc}" | tr _ -)" "libc6-dev-$TARGETARCH-cross"; fi \
 && CC=$CC CGO_ENABLED=1 GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w" -o /out/ ./cachemgr/cmd/cachemgrd

FROM ${RUNTIME_IMAGE} AS cachemgrd
COPY --from=cgo-programs /out/cachemgrd /usr/bin/cachemgrd
COPY --from=onnxruntime /out/onnxruntime /usr/lib/onnxruntime
ENV onnxruntime_library=/usr/lib/onnxruntime/libonnxruntime.so
EXPOSE 8000 8002
ENTRYPOINT ["/usr/bin/cachemgrd"]

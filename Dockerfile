# The images of faas-gpu:
#
#   docker build --target provider       -t faas-gpu/gpu-provider .
#   docker build --target cachemgrd      -t faas-gpu/cachemgrd .
#   docker build --target fwatchdog      -t faas-gpu/fwatchdog .        for templates of other languages
#   docker build --target go-trt-builder -t faas-gpu/go-trt-builder .   for the template go-trt
ARG GO_IMAGE=golang:1.26-bookworm
# With glibc and libstdc++, for ONNX Runtime.
ARG RUNTIME_IMAGE=debian:12-slim

FROM ${GO_IMAGE} AS source
WORKDIR /usr/src/faas-gpu
COPY go.mod go.sum ./
RUN go mod download
COPY . .

FROM source AS static-programs
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/ ./provider/cmd/gpu-provider ./watchdog/cmd/fwatchdog

FROM source AS cgo-programs
RUN CGO_ENABLED=1 go build -trimpath -ldflags="-s -w" -o /out/ ./cachemgr/cmd/cachemgrd

FROM source AS onnxruntime
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip \
 && sh stack/deps/onnxruntime.sh /out/onnxruntime

# Compiles the watchdog once, so that functions build in seconds and offline.
FROM source AS go-trt-builder
ENV FAAS_GPU_SOURCE=/usr/src/faas-gpu CGO_ENABLED=0
RUN go build -trimpath ./watchdog/...

FROM scratch AS fwatchdog
COPY --from=static-programs /out/fwatchdog /fwatchdog

FROM ${RUNTIME_IMAGE} AS provider
COPY --from=static-programs /out/gpu-provider /usr/bin/gpu-provider
ENV port=8081
EXPOSE 8081
ENTRYPOINT ["/usr/bin/gpu-provider"]

FROM ${RUNTIME_IMAGE} AS cachemgrd
COPY --from=cgo-programs /out/cachemgrd /usr/bin/cachemgrd
COPY --from=onnxruntime /out/onnxruntime /usr/lib/onnxruntime
ENV onnxruntime_library=/usr/lib/onnxruntime/libonnxruntime.so
EXPOSE 8000 8002
ENTRYPOINT ["/usr/bin/cachemgrd"]

# Everything that is downloaded or built is in .build; `make clean` removes it,
# and what `make up` keeps there.

SHELL := /bin/sh
.DEFAULT_GOAL := help

BUILD := $(CURDIR)/.build
BIN   := $(BUILD)/bin
# The folder that stands first on the PATH where faas-cli has to find our docker.
SHIMS := $(BUILD)/shims

export ONNXRUNTIME_LIB   := $(BUILD)/onnxruntime/libonnxruntime.so
ARM64_ONNXRUNTIME        := $(BUILD)/onnxruntime-arm64/libonnxruntime.so
export FAAS_GPU_SOURCE   := $(CURDIR)
export FAAS_CLI          := $(BIN)/faas-cli
export FAAS_GPU_WATCHDOG := $(BIN)/fwatchdog
# The real gateway, with its assets beside it, for one test.
export GATEWAY           := $(BUILD)/gateway/gateway
export tools_path        := $(SHIMS):$(BIN)
# For the test of the dashboard.
export PROMETHEUS        := $(BUILD)/prometheus/prometheus
# Says what was skipped and why, which go test keeps to itself.
GOTESTSUM                := $(BIN)/gotestsum
# A Python with Triton's client, for one test.
TRITON_CLIENT            := $(BUILD)/triton-client/installed
export TRITON_PYTHON     := $(BUILD)/triton-client/bin/python

# A working copy that somebody else owns is no error when programs are built.
export GOFLAGS += -buildvcs=false
# go-nvml binds what its driver deprecates too, and gcc would say so each time.
export CGO_CFLAGS := -O2 -g -Wno-deprecated-declarations
# What go-nvml calls is found when NVML is loaded; some distributions' linkers would
# have it found when a program starts.
export CGO_LDFLAGS := -O2 -g -Wl,-z,lazy

# The parts in C++ and what they are built from: see native/shim/CMakeLists.txt.
NATIVE         := $(BUILD)/native
GPU_HEADERS    := $(BUILD)/gpu-headers
NATIVE_SOURCES := $(shell find native/shim -type f)
export GPUSHIM_DOUBLE_LIB := $(NATIVE)/libgpushim_double.so

SOURCES := $(shell find cachemgr provider watchdog internal stack native -name '*.go' ! -name '*_test.go' 2>/dev/null) \
           $(shell find stack/digits cachemgr -name '*.onnx' -o -name '*.csv' -o -name '*.c' -o -name '*.h' 2>/dev/null) \
           go.mod go.sum

PROGRAMS := $(BIN)/gpu-provider $(BIN)/cachemgrd $(BIN)/fwatchdog $(BIN)/faas-gpu-embedded $(BIN)/faas-gpu-demo $(SHIMS)/docker

.PHONY: help demo test up bench build deps native lint unit test-ui test-docker clean check-tools check-native-tools check-docker-tools

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build deps ## Run the main job on real input with faas-cli, print what happened, stop
	@demo_dir=$(BUILD)/demo embedded_stack=$(BIN)/faas-gpu-embedded $(BIN)/faas-gpu-demo

up: build deps ## Keep the stack running on loopback and print the next commands
	@state_dir="$${state_dir:-$(BUILD)/up}" $(BIN)/faas-gpu-embedded

test: lint native unit ## All tests but those of test-docker, and the demo
	@$(MAKE) --no-print-directory demo
	@echo "make test: all passed"

bench: deps ## Measure latency added on one node; last line is JSON
	@go run ./stack/bench node

build: $(PROGRAMS) ## Build our programs into .build/bin

deps: $(ONNXRUNTIME_LIB) $(FAAS_CLI) ## Install what the programs need: ONNX Runtime, faas-cli

native: $(NATIVE)/tested ## Build the GPU shim and test it, without a GPU, under sanitizers

lint:
	@echo "gofmt"; unformatted=$$(gofmt -l $$(find . -path ./.build -prune -o -name '*.go' -print)); \
	 [ -z "$$unformatted" ] || { echo "not formatted (gofmt -w):" $$unformatted >&2; exit 1; }
	@echo "go vet"; go vet ./...

unit: build deps $(NATIVE)/built $(TRITON_CLIENT) $(GATEWAY) $(BUILD)/prometheus/tried $(GOTESTSUM)
	@echo "go test -race"; $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -timeout 5m ./...

test-ui: build deps $(GATEWAY) ## Click through the OpenFaaS page with Chromium, which Debian's packages have; pictures in .build/artifacts
	@command -v chromium >/dev/null || { echo "install Chromium"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }
	@CHROMIUM=$$(command -v chromium) ARTIFACTS=$(BUILD)/artifacts go test -count=1 -v -run '^TestUI$$' ./stack/e2e

test-docker: build deps $(GATEWAY) $(ARM64_ONNXRUNTIME) $(BUILD)/prometheus/tried | check-docker-tools ## Run functions in containers, with a Docker daemon of its own, and the programs for arm64; root; last line is JSON
	@CHROMIUM=$$(command -v chromium) DOCKER_COMPOSE=$$(command -v docker-compose) QEMU_AARCH64=$$(command -v qemu-aarch64) sh stack/lab/test-docker.sh $(BUILD)

# Where it may, it installs what it needs.
check-docker-tools:
	@need=; for tool in dockerd:docker.io docker-compose:docker-compose debootstrap:debootstrap ip:iproute2 chromium:chromium qemu-aarch64:qemu-user \
	   aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu; do command -v $${tool%%:*} >/dev/null || need="$$need $${tool##*:}"; done; \
	 [ -e /usr/aarch64-linux-gnu/include/stdio.h ] || need="$$need libc6-dev-arm64-cross"; \
	 [ -e /usr/aarch64-linux-gnu/lib/libstdc++.so.6 ] || need="$$need libstdc++6-arm64-cross"; \
	 [ -z "$$need" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "install$$need" && \
	   apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends$$need >/dev/null; } || \
	 { echo "make: needed for the tests with Docker:$$need (Debian: apt-get install$$need)" >&2; exit 1; }

clean: ## Remove everything that was downloaded or built, and what `make up` keeps
	rm -rf $(BUILD)

check-tools:
	@for tool in go gcc git python3; do \
	   command -v $$tool >/dev/null || { echo "make: $$tool is needed and not on the PATH" >&2; exit 1; }; \
	 done

$(BIN)/gpu-provider: $(SOURCES) | check-tools
	@echo "build gpu-provider"; CGO_ENABLED=0 go build -trimpath -o $@ ./provider/cmd/gpu-provider

$(BIN)/cachemgrd: $(SOURCES) | check-tools
	@echo "build cachemgrd"; CGO_ENABLED=1 go build -trimpath -o $@ ./cachemgr/cmd/cachemgrd

$(BIN)/fwatchdog: $(SOURCES) | check-tools
	@echo "build fwatchdog"; CGO_ENABLED=0 go build -trimpath -o $@ ./watchdog/cmd/fwatchdog

$(BIN)/faas-gpu-embedded: $(SOURCES) | check-tools
	@echo "build faas-gpu-embedded"; CGO_ENABLED=1 go build -trimpath -o $@ ./stack/embedded/cmd/faas-gpu-embedded

$(BIN)/faas-gpu-demo: $(SOURCES) | check-tools
	@echo "build faas-gpu-demo"; CGO_ENABLED=1 go build -trimpath -o $@ ./stack/demo

$(SHIMS)/docker: $(SOURCES) | check-tools
	@echo "build docker"; CGO_ENABLED=0 go build -trimpath -o $@ ./stack/docker

# Where it may, it installs what a machine for Go programs does not have.
check-native-tools:
	@need=; for tool in cmake g++ cargo; do command -v $$tool >/dev/null || need="$$need $$tool"; done; \
	 [ -e /usr/include/gtest/gtest.h ] || [ -e /usr/local/include/gtest/gtest.h ] || need="$$need libgtest-dev"; \
	 [ -z "$$need" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "install$$need" && \
	   apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends$$need >/dev/null; } || \
	 { echo "make: needed for the GPU shim and its tests:$$need (Debian: apt-get install$$need)" >&2; exit 1; }

$(GPU_HEADERS)/tensorrt/NvInfer.h: stack/deps/gpu-headers.sh | check-tools check-native-tools
	@echo "install the headers of TensorRT and CUDA"; sh stack/deps/gpu-headers.sh $(GPU_HEADERS) && touch $@

$(NATIVE)/built: $(NATIVE_SOURCES) $(GPU_HEADERS)/tensorrt/NvInfer.h | check-native-tools
	@echo "build libgpushim.so and its double"; log=$(BUILD)/native.log; \
	 { cmake -S native/shim -B $(NATIVE) -DTENSORRT_INCLUDE=$(GPU_HEADERS)/tensorrt -DCUDA_INCLUDE=$(GPU_HEADERS)/cuda && \
	   cmake --build $(NATIVE) --parallel 2 --target gpushim gpushim_double gpushim-build gpushim-build-double refit ledger; } >$$log 2>&1 || { cat $$log >&2; exit 1; }; \
	 touch $@

# Threads are checked where there are some: the faults run in one, and take long.
$(NATIVE)/tested: $(NATIVE)/built
	@set -e; log=$(BUILD)/native.log; for sanitize in address,undefined thread; do \
	   tree=$(NATIVE)-$${sanitize%%,*}; echo "test the shim ($$sanitize)"; \
	   { cmake -S native/shim -B $$tree -DSANITIZE=$$sanitize && \
	     cmake --build $$tree --parallel 2 --target shim_test; } >$$log 2>&1 || { cat $$log >&2; exit 1; }; \
	   filter='*'; [ $$sanitize != thread ] || filter='-FaultTest.*:*DeathTest.*'; \
	   setarch -R $$tree/shim_test --gtest_brief=1 --gtest_filter="$$filter" >$$log 2>&1 || { cat $$log >&2; exit 1; }; \
	   grep -E 'SHIM_SEED|PASSED' $$log; \
	 done; touch $@

$(ONNXRUNTIME_LIB): stack/deps/onnxruntime.sh | check-tools
	@echo "install ONNX Runtime"; sh stack/deps/onnxruntime.sh $(@D) && touch $@

$(ARM64_ONNXRUNTIME): stack/deps/onnxruntime.sh | check-tools
	@echo "install ONNX Runtime for arm64"; ONNXRUNTIME_MACHINE=aarch64 sh stack/deps/onnxruntime.sh $(@D) && touch $@

$(BUILD)/prometheus/tried: stack/deps/prometheus.sh
	@echo "install Prometheus, for a test"; sh stack/deps/prometheus.sh $(@D) && touch $@

$(GOTESTSUM): stack/tools/gotestsum/go.mod stack/tools/gotestsum/go.sum | check-tools
	@mkdir -p $(@D) && cd stack/tools/gotestsum && CGO_ENABLED=0 go build -mod=mod -trimpath -o $@ gotest.tools/gotestsum

$(GATEWAY): stack/tools/gateway/go.mod stack/tools/gateway/go.sum | check-tools
	@echo "build the OpenFaaS gateway"; \
	 mkdir -p $(@D) && cd stack/tools/gateway && CGO_ENABLED=0 go build -mod=mod -trimpath \
	   -ldflags "-X github.com/openfaas/faas/gateway/version.GitCommitSHA=8d803bf9e265" -o $@ github.com/openfaas/faas/gateway && \
	 ln -sfn "$$(go list -mod=mod -m -f '{{.Dir}}' github.com/openfaas/faas/gateway)/assets" $(@D)/assets

$(TRITON_CLIENT): stack/e2e/requirements.txt | check-tools
	@echo "install Triton's client"; rm -rf $(@D) && python3 -m venv $(@D) && \
	 $(TRITON_PYTHON) -m pip install -q --disable-pip-version-check -r $< && touch $@

# `go build` and not `go install`: see stack/tools/go.mod.
$(FAAS_CLI): stack/tools/go.mod stack/tools/go.sum | check-tools
	@echo "build faas-cli (about a minute the first time)"; \
	 mkdir -p $(@D) && cd stack/tools && CGO_ENABLED=0 go build -mod=mod -trimpath \
	   -ldflags "-X github.com/openfaas/faas-cli/version.Version=0.18.12" -o $@ github.com/openfaas/faas-cli

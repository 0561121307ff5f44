#!/bin/sh
# Measures plans on a GPU, in phases: see docs/gpu.md.
#
# On a machine with network:
#
#   sh stack/bench/gpu.sh pack            programs and TensorRT, into .build/gpu
#
# On the machine with the GPU, which needs none:
#
#   sh stack/bench/gpu.sh collect         takes the parts that are there now: the parts
#                                         may be brought there one after the other
#   sh stack/bench/gpu.sh run PHASE...    one after the other, also after one that fails
#
#   setup      unpacks, compiles the library and the tools
#   build      makes the plans
#   suite      the conformance suite of the engine
#   telemetry  what the cache manager tells of GPUs
#   shim       the library alone: hits, misses, all misses, beside the wire
#   ledger     what takes device memory, and whether the shim knows
#   socket     the same through the cache manager's socket
#   startup    what takes how long until a model answers
#   changeover an ONNX file: the CPU answers until its plan is built
#   swaps      a thousand models behind a quarter of their bytes, in random order
#   models     the same without the swaps
#   baselines  deserializing at each miss; a process for each model
#   replay     workloads through provider and functions, on the first GPU
#   replay2    the same on all GPUs of the host
#   summary    all of it in one object
#
# Each phase takes at most eight minutes and can be run again by itself after setup
# and build. Its results are lines in $GPU_RESULTS/raw.jsonl; what it says is in
# $GPU_RESULTS/log.txt. The last line of output is JSON.
#
# GPU_DOUBLE=1 runs all of it on the driver double, with small numbers. GPU_MODELS and
# GPU_SWAPS are how many there are of both, 1000 and 100000. GPU_WORK is the folder
# for all that is made, /root/gpu; its models are kept in memory.
set -eu

cd -- "$(dirname -- "$0")/../.."
pack=${GPU_PACK:-.build/gpu}               # what pack made
work=${GPU_WORK:-/root/gpu}                # all that is made there
results=${GPU_RESULTS:-$work/results}
double=${GPU_DOUBLE:-}
bin=$work/bin
ram=$work/ram                              # models: in memory
limit=480                                  # seconds of a phase

if [ -n "$double" ]; then
	build=${GPU_BUILD:-.build/native}
	library=$build/libgpushim_double.so
	models=24 heavy=8 requests=200 swaps=1000 baseline_requests=100 processes=4 replay_length=300ms replay_seeds=1
else
	build=$work/build
	library=$build/libgpushim.so
	export LD_LIBRARY_PATH="$work/tensorrt/lib"
	models=${GPU_MODELS:-1000} heavy=24 requests=2000 swaps=${GPU_SWAPS:-100000} baseline_requests=2000 processes=32 replay_length=${GPU_REPLAY_LENGTH:-8s} replay_seeds=401,402,403,404,405
fi

fail() {
	echo "gpu.sh: $*" >&2
	exit 1
}

# note LINE: a result.
note() {
	[ -n "$1" ] || { echo "there is no result" >&2; return 1; }
	echo "$1" | tee -a "$results/raw.jsonl"
}

seconds() { date +%s.%N; }

bench() {
	part=$1
	shift
	"$bin/bench" gpu "$part" -cachemgrd "$bin/cachemgrd" -library "$library" -onnxruntime "$bin/libonnxruntime.so" \
		-dir "$ram" -out "$results/raw.jsonl" "$@"
}

generate() { # generate FILE FAMILY SEED [FLAG...]
	file=$1 family=$2 seed=$3
	shift 3
	"$bin/modelgen" -family "$family" -seed "$seed" -o "$file" "$@"
}

phase_pack() {
	mkdir -p "$pack/bin"
	export CGO_LDFLAGS="${CGO_LDFLAGS:--O2 -g -Wl,-z,lazy}" # see the Makefile
	for program in cachemgr/cmd/cachemgrd stack/bench stack/modelgen/cmd/modelgen; do
		go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$pack/bin/${program##*/}" "./$program"
	done
	go test -buildvcs=false -trimpath -ldflags '-s -w' -c -o "$pack/bin/native.test" ./native
	sh stack/deps/onnxruntime.sh .build/onnxruntime
	[ -n "$double" ] || zstd -q -f -10 .build/onnxruntime/libonnxruntime.so -o "$pack/bin/libonnxruntime.so.zst"
	[ -n "$double" ] || [ -d "$pack/tools" ] || sh stack/deps/tensorrt.sh --pack "$pack"
	du -sm "$pack"/*
}

phase_collect() {
	mkdir -p "$work/parts" "$bin"
	for part in "$pack"/part-??; do
		[ ! -d "$part" ] || cp "$part"/* "$work/parts/"
	done
	[ ! -d "$pack/tools" ] || cp "$pack"/tools/* "$work/parts/"
	[ ! -d "$pack/bin" ] || cp "$pack"/bin/* "$bin/"
	[ ! -d "$pack/timings" ] || cp -r "$pack/timings" "$work/"
	ls "$work/parts" "$bin"
}

phase_setup() {
	mkdir -p "$ram" "$results"
	[ -n "$double" ] || mountpoint -q "$ram" || mount -t tmpfs -o size=100g models "$ram"
	describe_machine >"$results/machine.txt" 2>&1
	[ -z "$double" ] || { setup_double; return; }
	sh "$work/parts/unpack.sh" "$work/tensorrt"
	"$work/parts/zstd" -dqf "$bin/libonnxruntime.so.zst" -o "$bin/libonnxruntime.so"
	cmake -S native/shim -B "$build" -DTENSORRT_INCLUDE="$work/tensorrt/include" -DTENSORRT_LIB="$work/tensorrt/lib" \
		-DCUDA_INCLUDE="${CUDA_INCLUDE:-/usr/local/cuda/include}" >/dev/null
	cmake --build "$build" --parallel "$(nproc)" --target gpushim gpushim-build refit measure ledger | grep -E 'error|Built'
	note "$("$build/gpushim-build" --describe | sed 's/^{/{"part":"setup",/')"
}

setup_double() {
	ln -sfn "$(realpath .build/onnxruntime/libonnxruntime.so)" "$bin/libonnxruntime.so"
	note "$("$build/gpushim-build-double" --describe | sed 's/^{/{"part":"setup",/')"
}

describe_machine() {
	date -u
	uname -srm
	grep -m1 'model name' /proc/cpuinfo
	nproc
	grep MemTotal /proc/meminfo
	! command -v nvidia-smi >/dev/null || nvidia-smi -q | grep -E 'Driver Version|CUDA Version|Product Name|Link Gen|Link Width|Max|Current|Clocks|Graphics|SM|Memory'
}

. stack/bench/gpu-plans.sh

phase_suite() {
	start=$(seconds)
	status=passed
	GPUSHIM_LIB=$(realpath "$library") GPUSHIM_PLANS=$ram/suite timeout 240 "$bin/native.test" -test.run OnGPU -test.v \
		>"$results/suite.txt" 2>&1 || status=failed
	grep -E '^ *--- (FAIL|SKIP)' "$results/suite.txt" || true
	note "$(printf '{"part":"suite","status":"%s","passed":%s,"failed":%s,"skipped":%s,"seconds":%.1f}' $status \
		"$(grep -c -- '--- PASS' "$results/suite.txt")" "$(grep -c -- '--- FAIL' "$results/suite.txt")" \
		"$(grep -c -- '--- SKIP' "$results/suite.txt")" "$(echo "$(seconds) $start" | awk '{print $1-$2}')")"
	[ $status = passed ] && grep -q -- '--- PASS' "$results/suite.txt"
}

phase_shim() {
	if [ ! -x "$build/measure" ]; then
		note '{"part":"shim","status":"skipped","why":"measure wants TensorRT"}'
		return
	fi
	status=0
	measure resnet50 24 2 || status=1
	measure vgg16 8 2 || status=1
	measure resnet50 24 1 || status=1
	measure resnet50 24 3 || status=1
	return $status
}

measure() { # measure NETWORK COPIES LOADERS
	note "$("$build/measure" "$library" "$ram/$1/1.plan" "$2" "$1-loaders$3" "$3" | sed 's/^{/{"part":"shim",/')"
}

phase_ledger() { note "$("$build/ledger" "$library" "$ram/many" 2 | sed 's/^{/{"part":"ledger",/')"; }

phase_socket() {
	bench socket -name resnet50 -plans "$ram/resnet50" -requests "$requests"
	bench socket -name vgg16 -plans "$ram/vgg16" -requests "$((requests / 4))"
}

phase_changeover() {
	if [ -n "$double" ]; then
		generate "$ram/onnx/new.onnx" scale 77
		GPUSHIM_DOUBLE_BUILD_MS=500 bench changeover -name scale -onnx "$ram/onnx/new.onnx" -builder "$build/gpushim-build-double" -requests 100 -clients 2
	else
		generate "$ram/onnx/new.onnx" squeezenet1.1 77
		bench changeover -name squeezenet1.1 -onnx "$ram/onnx/new.onnx" -builder "$build/gpushim-build" -requests 1000 -clients 2
	fi
}

phase_telemetry() { bench telemetry; }
phase_startup() { bench startup -name resnet50 -plans "$ram/resnet50"; }
phase_models() { bench models -name mix -plans "$ram/many" -swaps 0; }
phase_swaps() { bench models -name mix -plans "$ram/many" -swaps "$swaps"; }
phase_baselines() { bench baselines -name mix -plans "$ram/many" -requests "$baseline_requests" -processes "$processes"; }

phase_replay() { (export CUDA_VISIBLE_DEVICES=0 && replay one-gpu); }
phase_replay2() { replay all-gpus; }

replay() { # replay NAME
	rm -rf "$ram/replay"
	mkdir -p "$ram/replay"
	find "$ram/resnet50" -name '*.plan' | sort >"$work/light.txt"
	find "$ram/vgg16" -name '*.plan' | sort >"$work/heavy.txt"
	number=1000
	for plan in $(paste -d '\n' "$work/light.txt" "$work/heavy.txt"); do
		number=$((number + 1))
		ln "$plan" "$ram/replay/$number.plan"
	done
	functions=$((number - 1000))
	[ "$functions" -le 24 ] || functions=24
	"$bin/bench" replay -plans "$ram/replay" -library "$(realpath "$library")" -onnxruntime "$bin/libonnxruntime.so" -cachemgrd "$bin/cachemgrd" \
		-dir "$ram" -functions "$functions" -share 0.5 -length "$replay_length" -seeds "$replay_seeds" -out "$results/raw.jsonl" \
		-cdf "$results/replay-$1-cdf.json" -saveprofile "$results/replay-$1-profile.json"
}

phase_summary() {
	"$bin/bench" gpu summary -plans "$results" >"$work/summary.txt"
	tail -n 1 "$work/summary.txt" | tee "$results/summary.json"
}

# run PHASE...: the last line tells how each ended.
run() {
	mkdir -p "$results"
	ended=
	for phase in "$@"; do
		echo "== $phase"
		start=$(date +%s)
		status=0
		timeout -k 10 $limit sh stack/bench/gpu.sh "$phase" >"$work/last.txt" 2>&1 || status=$?
		tail -c 4000 "$work/last.txt"
		{ echo "== $phase: status $status, $(($(date +%s) - start)) s"; tail -c 200000 "$work/last.txt"; } >>"$results/log.txt"
		ended="$ended,\"$phase\":{\"status\":$status,\"seconds\":$(($(date +%s) - start))}"
		# Where the results are to be brought to, should this be cut off.
		[ -z "${OUT:-}" ] || cp -r "$results"/. "$OUT/"
	done
	echo "{${ended#,}}"
}

case ${1:-} in
run) shift && mkdir -p "$work" && run "$@" ;;
pack | collect | setup | build | suite | telemetry | shim | ledger | socket | startup | changeover | models | swaps | baselines | replay | replay2 | summary) "phase_$1" ;;
*) fail "usage: gpu.sh pack | collect | run PHASE..., see the head of this file" ;;
esac

# The plans that gpu.sh measures with; part of it.
#
#   suite      for the conformance suite: three networks and a dynamic one
#   resnet50   one network each, with different weights
#   vgg16
#   many       three networks, with different weights
#
# Builds on TensorRT spoil each other's timings, so two run at once and not more; the
# plans of one network come from one build by refitting.

phase_build() {
	mkdir -p "$ram/onnx" "$ram/suite" "$ram/resnet50" "$ram/vgg16" "$ram/many" "$ram/base"
	start=$(seconds)
	if [ -n "$double" ]; then build_double; else build_real; fi
	missing=
	for set in suite resnet50 vgg16 many; do
		count=$(find "$ram/$set" -name '*.plan' | wc -l)
		[ "$count" -gt 0 ] || missing="$missing $set"
		note "$(printf '{"part":"build","set":"%s","plans":%s,"mb":%s}' "$set" "$count" "$(du -sm "$ram/$set" | cut -f1)")"
	done
	note "$(echo "$(seconds) $start" | awk '{printf "{\"part\":\"build\",\"seconds\":%.1f}", $1-$2}')"
	[ -z "$missing" ] || fail "there are no plans for$missing"
}

# The models of the double multiply four numbers; what counts is their bytes.
build_double() {
	double_plan suite/dynamic 4 1000 ""
	for i in 1 2 3; do double_plan "suite/$i" "$i" 600000 1; done
	for i in $(seq "$heavy"); do double_plan "resnet50/$i" "1$i" 300000 ""; done
	for i in $(seq "$heavy"); do double_plan "vgg16/$i" "2$i" 600000 ""; done
	for i in $(seq "$models"); do double_plan "many/$i" "3$i" "$((100000 + i % 3 * 100000))" ""; done
}

double_plan() { # double_plan PLAN SEED WEIGHTS STATIC
	generate "$ram/onnx/double.onnx" scale "$2"
	GPUSHIM_DOUBLE_BUILD_WEIGHTS=$3 GPUSHIM_DOUBLE_BUILD_STATIC=$4 \
		"$build/gpushim-build-double" --onnx "$ram/onnx/double.onnx" --out "$ram/$1.plan" --batch 8 >/dev/null
}

build_real() {
	generate "$ram/onnx/squeezenet.onnx" squeezenet1.1 1 -width 2
	generate "$ram/onnx/mobilenet.onnx" mobilenetv2 2
	generate "$ram/onnx/resnet18-half.onnx" resnet18 3 -width 0.5
	generate "$ram/onnx/dynamic.onnx" scale 4
	generate "$ram/onnx/resnet50.onnx" resnet50 5
	generate "$ram/onnx/vgg16.onnx" vgg16 6
	generate "$ram/onnx/resnet18.onnx" resnet18 7
	generate "$ram/onnx/resnet18-narrow.onnx" resnet18 8 -width 0.75
	# A lane that fails leaves the other its sets.
	lane_large & large=$!
	lane_mix || echo "the mix failed"
	wait $large || echo "the large ones failed"
}

lane_large() {
	base vgg16 || true
	refit vgg16 vgg16 1 12 || only vgg16
	for m in squeezenet mobilenet resnet18-half; do
		"$build/gpushim-build" --onnx "$ram/onnx/$m.onnx" --out "$ram/suite/$m.plan" | tail -n 1
	done
	"$build/gpushim-build" --onnx "$ram/onnx/dynamic.onnx" --out "$ram/suite/dynamic.plan" --batch 8 | tail -n 1
}

# only MODEL: one plan, where refitting failed.
only() { "$build/gpushim-build" --onnx "$ram/onnx/$1.onnx" --out "$ram/$1/1.plan"; }

# The mix: most are ResNet-18 of 24 MB. As many processes as the machine bears.
lane_mix() {
	base resnet50 || true
	refit resnet50 resnet50 1 "$heavy" || only resnet50
	for m in resnet18 resnet18-narrow squeezenet; do base $m || true; done
	refit_many resnet18 1 $((models * 65 / 100))
	refit_many resnet18-narrow 100001 $((models * 25 / 100))
	refit_many squeezenet 200001 $((models - models * 65 / 100 - models * 25 / 100))
	wait_all
}

base() { # base MODEL: a build that can be refitted
	start_base=$(seconds)
	"$build/refit" "$ram/onnx/$1.onnx" "$ram/base/$1.base" || return 1
	note "$(echo "$(seconds) $start_base" | awk -v m="$1" '{printf "{\"part\":\"build\",\"base\":\"%s\",\"seconds\":%.1f}", m, $1-$2}')"
}

refit() { "$build/refit" "$ram/onnx/$1.onnx" "$ram/base/$1.base" "$ram/$2" "$3" "$4"; } # refit MODEL SET FIRST COUNT

# refit_many MODEL FIRST COUNT starts processes; wait_all waits for them.
refit_many() {
	each=$((($3 + refit_processes - 1) / refit_processes))
	left=$3 at=$2
	while [ "$left" -gt 0 ]; do
		[ "$each" -le "$left" ] || each=$left
		refit "$1" many "$at" "$each" & pids="$pids $!"
		at=$((at + each)) left=$((left - each))
	done
}
refit_processes=5
pids=

wait_all() {
	for pid in $pids; do wait "$pid" || echo "a plan was not made"; done
	pids=
}

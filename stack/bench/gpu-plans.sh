# The plans that gpu.sh measures with; part of it.
#
#   suite      for the conformance suite: three networks and a dynamic one
#   resnet50   one network each, with different weights
#   vgg16
#   many       three networks, with different weights
#
# Processes on one GPU spoil each other's timings, and fight for it, so there are two
# at once and not more; the plans of one network come from one build by refitting. What
# builds find out about kernels is in the results' folder "timings": in .build/gpu it
# makes later builds short.

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
	mkdir -p "$work/timings"
	generate "$ram/onnx/dynamic.onnx" scale 4
	generate "$ram/onnx/resnet50.onnx" resnet50 5
	generate "$ram/onnx/vgg16.onnx" vgg16 6
	generate "$ram/onnx/resnet18.onnx" resnet18 7
	generate "$ram/onnx/resnet18-narrow.onnx" resnet18 8 -width 0.75
	generate "$ram/onnx/squeezenet.onnx" squeezenet1.1 1 -width 2
	# A lane that fails leaves the other its sets.
	lane_large & large=$!
	lane_mix || echo "the mix failed"
	wait $large || echo "the large ones failed"
	rm -rf "$results/timings"
	cp -r "$work/timings" "$results/timings"
}

# The mix: most are ResNet-18 of 24 MB. What the suite needs comes first.
lane_mix() {
	for m in squeezenet resnet18 resnet18-narrow; do base $m || true; done
	refit squeezenet suite 1 1
	refit resnet18 suite 2 1
	refit resnet18-narrow suite 3 1
	"$build/gpushim-build" --onnx "$ram/onnx/dynamic.onnx" --out "$ram/suite/dynamic.plan" --batch 8 \
		--timing-cache "$work/timings/dynamic" | tail -n 1
	base resnet50 || true
	refit resnet50 resnet50 1 "$heavy" || only resnet50
	refit squeezenet many 200001 $((models - models * 65 / 100 - models * 25 / 100))
	refit resnet18-narrow many 100001 $((models * 25 / 100))
	refit resnet18 many 1 $((models * 65 / 200))
}

# The largest network takes as long as the others, and leaves time for a part of the mix.
lane_large() {
	base vgg16 || true
	refit vgg16 vgg16 1 12 || only vgg16
	[ -e "$ram/base/resnet18.base" ] || sleep 60 # with timings from before, both lanes are here early
	refit resnet18 many $((models * 65 / 200 + 1)) $((models * 65 / 100 - models * 65 / 200))
}

# only MODEL: one plan, where refitting failed.
only() {
	"$build/gpushim-build" --onnx "$ram/onnx/$1.onnx" --out "$ram/$1/1.plan" --timing-cache "$work/timings/$1-only"
}

# base MODEL: a build that can be refitted. Each has its timings in a file of its own:
# the lanes would overwrite each other's.
base() {
	start_base=$(seconds)
	"$build/refit" "$ram/onnx/$1.onnx" "$ram/base/$1.base" "$work/timings/$1" || return 1
	note "$(echo "$(seconds) $start_base" | awk -v m="$1" '{printf "{\"part\":\"build\",\"base\":\"%s\",\"seconds\":%.1f}", m, $1-$2}')"
}

# refit MODEL SET FIRST COUNT
refit() {
	start_refit=$(seconds)
	"$build/refit" "$ram/onnx/$1.onnx" "$ram/base/$1.base" "$ram/$2" "$3" "$4" 2>&1 | grep -v -i weights || true
	note "$(echo "$(seconds) $start_refit" | awk -v m="$1" -v s="$2" -v n="$4" '{printf "{\"part\":\"build\",\"refit\":\"%s\",\"set\":\"%s\",\"plans\":%d,\"seconds\":%.1f}", m, s, n, $1-$2}')"
	[ -e "$ram/$2/$3.plan" ]
}

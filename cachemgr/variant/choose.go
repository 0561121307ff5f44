package variant

import (
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// state of a plan.
type state int

const (
	coming   state = iota // it is looked for, built or loaded
	ready                 // requests may use it
	failed                // it is tried again later
	unbuilt               // TensorRT makes no such plan of this file; tried again much later
	discards              // it turned out to be no good, and is made anew
)

// option is a plan, as far as choose looks at it.
type option struct {
	precision string
	batch     int // that it is, or will be, built for
	state     state
	rows      int    // most rows of a request, once ready; 0: the model's shapes are fixed
	key       string // at the GPUs' manager, once ready
}

// ask is what a request wants.
type ask struct {
	terms cachemgr.Terms // normal
	rows  int            // its first dimension
}

// node is what there is beside the plans.
type node struct {
	cpu bool // an engine for the ONNX file itself
	gpu bool // GPUs that are not lost
}

type action int

const (
	onGPU action = iota // with the option chosen
	onCPU               // with the ONNX file
	await               // until an option is ready
	refuse
)

// decision is what happens to a request; option is an index.
type decision struct {
	action action
	option int
}

// defaultPrecisions are tried in this order where a function does not say: half
// precision is what GPUs are fast at, and some files cannot be computed in it.
var defaultPrecisions = []string{api.PrecisionFP16, api.PrecisionFP32}

// normal fills in what terms leave to the node. Where no CPU can stand in, a
// function that would have it does the next best thing, and waits.
func normal(t cachemgr.Terms, cpu bool) cachemgr.Terms {
	if len(t.Precisions) == 0 {
		t.Precisions = defaultPrecisions
	}
	if t.MaxBatch <= 0 {
		t.MaxBatch = 1
	}
	if t.Fallback == "" || t.Fallback == api.FallbackCPU && !cpu {
		t.Fallback = api.FallbackCPU
		if !cpu {
			t.Fallback = api.FallbackWait
		}
	}
	return t
}

// choose decides what serves a request: of the plans that are ready, have one of
// the precisions asked for and take as many rows, the one in the precision that is
// preferred, and of those the one for the smallest batch. Without one the terms
// say what happens. (A choice by objective and accuracy, as INFaaS makes it, would
// order the same candidates by what they cost and give: Romero et al., USENIX ATC
// 2021, section 4.)
func choose(a ask, options []option, n node) decision {
	best, rank := -1, 0
	mayCome := false
	for i, o := range options {
		r := slices.Index(a.terms.Precisions, o.precision)
		if r < 0 {
			continue
		}
		switch o.state {
		case ready:
			if o.rows > 0 && o.rows < a.rows {
				continue
			}
			if best < 0 || r < rank || r == rank && o.batch < options[best].batch {
				best, rank = i, r
			}
		case coming, failed, discards:
			mayCome = mayCome || o.batch >= a.rows
		}
	}
	switch {
	case best >= 0 && n.gpu:
		return decision{onGPU, best}
	case a.terms.Fallback == api.FallbackCPU:
		return decision{action: onCPU}
	case a.terms.Fallback == api.FallbackWait && (mayCome || !n.gpu):
		return decision{action: await}
	}
	return decision{action: refuse}
}

// wanted are the plans that should be there for some terms, beside those that are:
// of each terms' precisions the first that can be built.
func wanted(terms []cachemgr.Terms, options []option) (missing []option) {
	for _, t := range terms {
		for _, p := range t.Precisions {
			is := func(o option) bool { return o.precision == p && o.batch == t.MaxBatch }
			i := slices.IndexFunc(options, is)
			if i < 0 {
				if !slices.ContainsFunc(missing, is) {
					missing = append(missing, option{precision: p, batch: t.MaxBatch})
				}
				break
			}
			if options[i].state != unbuilt {
				break
			}
		}
	}
	return missing
}

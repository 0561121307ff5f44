package onnxfile

import "math"

// value is what is known of a tensor of the main graph.
type value struct {
	known       bool // elem and dims are
	initializer bool
	elem        int64
	dims        []int64 // -1 where dynamic
	ints        []int64 // of a short INT64 constant: a shape
}

// bytes of the tensor, dynamic dimensions counted as one; saturates.
func (v value) bytes() int64 {
	n := int64(8)
	if size := datatypes[v.elem].Size(); size > 0 {
		n = int64(size)
	}
	for _, d := range v.dims {
		n = mulBytes(n, max(d, -d))
	}
	return n
}

// addBytes and mulBytes saturate; their arguments are not negative.
func addBytes(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func mulBytes(a, b int64) int64 {
	if b != 0 && a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

// infer finds the shapes of what the nodes give, in order. An operator that is
// not known here gives what the file declares for its outputs, else something
// as large as its largest input.
func (r *reader) infer() {
	for _, n := range r.nodes {
		in := make([]value, len(n.inputs))
		for i, name := range n.inputs {
			in[i] = r.values[name]
		}
		inferred := inferNode(n, in)
		for i, name := range n.outputs {
			declared, ok := r.values[name]
			switch {
			case name == "" || declared.initializer:
			case i == 0 && inferred.known && len(inferred.dims) <= maxRank:
				r.values[name] = inferred
			case !ok:
				r.values[name] = largest(in)
			}
		}
	}
}

func largest(in []value) value {
	var most value
	for _, v := range in {
		if !v.initializer && v.bytes() >= most.bytes() {
			most = v
		}
	}
	most.known, most.initializer, most.ints = false, false, nil
	return most
}

// filterBytes adds up the initializers that are filters, each once.
func (r *reader) filterBytes() int64 {
	total := int64(0)
	seen := map[string]bool{}
	for _, n := range r.nodes {
		if len(n.inputs) < 2 || n.op != "Conv" && n.op != "ConvTranspose" {
			continue
		}
		name := n.inputs[1]
		if v := r.values[name]; v.initializer && !seen[name] {
			seen[name] = true
			total = addBytes(total, v.bytes())
		}
	}
	return total
}

// activationPeak walks the nodes in order and sums what lives at each: a tensor
// lives from the node that makes it to the last that reads it. The graph's own
// inputs and outputs are the caller's, so they are not counted.
func (r *reader) activationPeak() int64 {
	outside := map[string]bool{}
	for _, d := range r.inputs {
		outside[d.name] = true
	}
	for _, d := range r.outputs {
		outside[d.name] = true
	}
	last := map[string]int{}
	for i, n := range r.nodes {
		for _, name := range n.inputs {
			last[name] = i
		}
	}

	var live, peak int64
	alive := map[string]int64{}
	for i, n := range r.nodes {
		for _, name := range n.outputs {
			v := r.values[name]
			if _, twice := alive[name]; name == "" || outside[name] || v.initializer || twice {
				continue
			}
			alive[name] = v.bytes()
			live = addBytes(live, alive[name])
		}
		peak = max(peak, live)
		for _, names := range [][]string{n.inputs, n.outputs} {
			for _, name := range names {
				if size, ok := alive[name]; ok && last[name] <= i {
					delete(alive, name)
					live = max(live-size, 0)
				}
			}
		}
	}
	return peak
}

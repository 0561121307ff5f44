package onnxfile

import "slices"

// inferNode is the type of a node's first output; not known where the operator
// is not, or where its inputs do not fit it.
func inferNode(n node, in []value) value {
	switch n.op {
	case "Constant", "ConstantOfShape":
		return inferConstant(n, in)
	}
	if len(in) == 0 || !in[0].known {
		return value{}
	}
	x := in[0]
	x.initializer, x.ints = false, nil

	switch n.op {
	case "Relu", "Clip", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Identity", "Dropout",
		"BatchNormalization", "InstanceNormalization", "LayerNormalization", "LRN",
		"LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish", "Gelu", "Softplus", "Softsign", "Mish",
		"Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Erf", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "Not":
		return x
	case "Cast":
		x.elem = n.integer("to", x.elem)
		return x
	case "Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Max", "Min", "Sum", "Mean", "And", "Or", "Xor":
		return inferBroadcast(x, in[1:])
	case "Conv":
		return inferConv(n, x, in)
	case "MaxPool", "AveragePool", "LpPool":
		return inferPool(n, x)
	case "GlobalAveragePool", "GlobalMaxPool":
		return inferGlobalPool(x)
	case "Gemm":
		return inferGemm(n, x, in)
	case "MatMul":
		return inferMatMul(x, in)
	case "Concat":
		return inferConcat(n, x, in)
	case "Flatten":
		return inferFlatten(n, x)
	case "Reshape":
		return inferReshape(x, in)
	case "Transpose":
		return inferTranspose(n, x)
	}
	return value{}
}

func (n node) attr(name string) (attribute, bool) {
	i := slices.IndexFunc(n.attrs, func(a attribute) bool { return a.name == name })
	if i < 0 {
		return attribute{}, false
	}
	return n.attrs[i], true
}

func (n node) integer(name string, otherwise int64) int64 {
	if a, ok := n.attr(name); ok {
		return a.i
	}
	return otherwise
}

func inferConstant(n node, in []value) value {
	a, ok := n.attr("value")
	switch {
	case n.op == "Constant" && ok && a.t != nil:
		return value{known: true, elem: a.t.elem, dims: a.t.dims, ints: a.t.ints}
	case n.op == "ConstantOfShape" && len(in) == 1 && in[0].ints != nil:
		v := value{known: true, elem: 1, dims: in[0].ints}
		if ok && a.t != nil {
			v.elem = a.t.elem
		}
		return v
	}
	return value{}
}

func inferBroadcast(x value, others []value) value {
	dims := slices.Clone(x.dims)
	for _, o := range others {
		if !o.known {
			return value{}
		}
		a, b := dims, o.dims
		if len(a) < len(b) {
			a, b = b, a
		}
		dims = slices.Clone(a)
		shift := len(a) - len(b)
		for i, d := range b {
			dims[shift+i] = broadcastDim(a[shift+i], d)
		}
	}
	x.dims = dims
	return x
}

func broadcastDim(a, b int64) int64 {
	switch {
	case a == 1:
		return b
	case b == 1, a == b:
		return a
	}
	return max(a, b) // one is dynamic, and will be the other or fail
}

// window computes the spatial dimensions that a sliding window leaves.
func window(n node, in, kernel []int64) []int64 {
	pick := func(name string, i int, otherwise int64) int64 {
		if a, ok := n.attr(name); ok && i < len(a.ints) {
			return a.ints[i]
		}
		return otherwise
	}
	_, auto := n.attr("auto_pad")
	out := make([]int64, len(in))
	for i, d := range in {
		stride := max(pick("strides", i, 1), 1)
		covers := (kernel[i]-1)*max(pick("dilations", i, 1), 1) + 1
		pads := pick("pads", i, 0) + pick("pads", i+len(in), 0)
		round := int64(0)
		if n.integer("ceil_mode", 0) == 1 {
			round = stride - 1
		}
		switch {
		case d < 0:
			out[i] = -1
		case auto: // SAME or VALID: the larger of both
			out[i] = (d + stride - 1) / stride
		default:
			out[i] = max((d+pads-covers+round)/stride+1, 0)
		}
	}
	return out
}

func inferConv(n node, x value, in []value) value {
	if len(in) < 2 || !in[1].known || len(x.dims) < 3 || len(in[1].dims) != len(x.dims) {
		return value{}
	}
	w := in[1].dims
	x.dims = append([]int64{x.dims[0], w[0]}, window(n, x.dims[2:], w[2:])...)
	return x
}

func inferPool(n node, x value) value {
	kernel, ok := n.attr("kernel_shape")
	if !ok || len(x.dims) < 3 || len(kernel.ints) != len(x.dims)-2 {
		return value{}
	}
	x.dims = append([]int64{x.dims[0], x.dims[1]}, window(n, x.dims[2:], kernel.ints)...)
	return x
}

func inferGlobalPool(x value) value {
	if len(x.dims) < 3 {
		return value{}
	}
	dims := slices.Clone(x.dims)
	for i := 2; i < len(dims); i++ {
		dims[i] = 1
	}
	x.dims = dims
	return x
}

func inferGemm(n node, x value, in []value) value {
	if len(in) < 2 || !in[1].known || len(x.dims) != 2 || len(in[1].dims) != 2 {
		return value{}
	}
	rows, columns := x.dims[0], in[1].dims[1]
	if n.integer("transA", 0) != 0 {
		rows = x.dims[1]
	}
	if n.integer("transB", 0) != 0 {
		columns = in[1].dims[0]
	}
	x.dims = []int64{rows, columns}
	return x
}

// inferMatMul covers matrices and stacks of them.
func inferMatMul(x value, in []value) value {
	if len(in) != 2 || !in[1].known || len(x.dims) < 2 || len(in[1].dims) < 2 {
		return value{}
	}
	a, b := x.dims, in[1].dims
	rows, columns := a[len(a)-2], b[len(b)-1]
	stack := inferBroadcast(value{known: true, dims: a[:len(a)-2]}, []value{{known: true, dims: b[:len(b)-2]}})
	x.dims = append(stack.dims, rows, columns)
	return x
}

func inferConcat(n node, x value, in []value) value {
	axis := n.integer("axis", 0)
	if axis < 0 {
		axis += int64(len(x.dims))
	}
	if axis < 0 || axis >= int64(len(x.dims)) {
		return value{}
	}
	dims := slices.Clone(x.dims)
	for _, v := range in[1:] {
		if !v.known || len(v.dims) != len(dims) {
			return value{}
		}
		if dims[axis] < 0 || v.dims[axis] < 0 {
			dims[axis] = -1
			continue
		}
		dims[axis] = addBytes(dims[axis], v.dims[axis])
	}
	x.dims = dims
	return x
}

func inferFlatten(n node, x value) value {
	axis := n.integer("axis", 1)
	if axis < 0 {
		axis += int64(len(x.dims))
	}
	if axis < 0 || axis > int64(len(x.dims)) {
		return value{}
	}
	x.dims = []int64{product(x.dims[:axis]), product(x.dims[axis:])}
	return x
}

// product of dimensions: -1 if one is dynamic.
func product(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		if d < 0 {
			return -1
		}
		n = mulBytes(n, d)
	}
	return n
}

func inferReshape(x value, in []value) value {
	if len(in) < 2 || in[1].ints == nil {
		return value{}
	}
	dims, rest := slices.Clone(in[1].ints), -1
	for i, d := range dims {
		switch {
		case d == 0 && i < len(x.dims):
			dims[i] = x.dims[i]
		case d < 0:
			dims[i], rest = 1, i
		}
	}
	if rest >= 0 {
		total, others := product(x.dims), product(dims)
		if dims[rest] = -1; total >= 0 && others > 0 {
			dims[rest] = total / others
		}
	}
	x.dims = dims
	return x
}

func inferTranspose(n node, x value) value {
	order, ok := n.attr("perm")
	dims := slices.Clone(x.dims)
	if !ok {
		slices.Reverse(dims)
		x.dims = dims
		return x
	}
	if len(order.ints) != len(dims) {
		return value{}
	}
	for i, from := range order.ints {
		if from < 0 || from >= int64(len(dims)) {
			return value{}
		}
		dims[i] = x.dims[from]
	}
	x.dims = dims
	return x
}

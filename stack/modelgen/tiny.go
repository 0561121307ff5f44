package modelgen

// constant appends a node that gives a float scalar. (Clip's limits are inputs,
// and rank 0.)
func (g *graph) constant(v float32) string {
	return g.apply("Constant", nil, floatTensor("value", v))
}

func reluOnly(g *graph, s Spec) {
	side := dim{value: int64(s.Resolution)}
	shape := []dim{batchDim(s), {value: 3}, side, side}
	g.inputs = append(g.inputs, encodeValueInfo("input", elemFloat, shape...))
	g.outputs = append(g.outputs, encodeValueInfo("output", elemFloat, shape...))
	g.nodes = append(g.nodes, encodeNode("Relu", []string{"input"}, []string{"output"}, nil))
}

func scale(g *graph, s Spec) {
	shape := []dim{{param: "batch"}, {value: 4}}
	g.inputs = append(g.inputs, encodeValueInfo("input", elemFloat, shape...))
	g.outputs = append(g.outputs, encodeValueInfo("output", elemFloat, shape...))
	factor := g.random(1, 4)
	g.nodes = append(g.nodes, encodeNode("Mul", []string{"input", factor}, []string{"output"}, nil))
}

// endless is a Loop without a trip count whose body asks for one more round.
func endless(g *graph, _ Spec) {
	one := dim{value: 1}
	body := newGraph("body")
	body.inputs = [][]byte{
		encodeValueInfo("round", elemInt64),
		encodeValueInfo("more", elemBool),
		encodeValueInfo("x", elemFloat, one),
	}
	body.outputs = [][]byte{
		encodeValueInfo("more_next", elemBool),
		encodeValueInfo("x_next", elemFloat, one),
	}
	body.nodes = [][]byte{
		encodeNode("Identity", []string{"more"}, []string{"more_next"}, nil),
		encodeNode("Sin", []string{"x"}, []string{"x_next"}, nil),
	}
	g.inputs = append(g.inputs, encodeValueInfo("input", elemFloat, one))
	g.outputs = append(g.outputs, encodeValueInfo("output", elemFloat, one))
	g.nodes = append(g.nodes, encodeNode("Loop", []string{"", "", "input"}, []string{"output"},
		[]attribute{subgraph("body", body.encodeSmall())}))
}

// huge holds all its tensors until the last has been made.
func huge(g *graph, _ Spec) {
	one := dim{value: 1}
	g.inputs = append(g.inputs, encodeValueInfo("n", elemInt64, one))
	g.outputs = append(g.outputs, encodeValueInfo("output", elemFloat, one))
	parts := make([]string, 16)
	for i := range parts {
		parts[i] = g.apply("ConstantOfShape", []string{"n"}, floatTensor("value", float32(i), 1))
	}
	g.nodes = append(g.nodes,
		encodeNode("Max", parts, []string{"most"}, nil),
		encodeNode("ReduceMax", []string{"most"}, []string{"output"}, []attribute{integer("keepdims", 1)}))
}

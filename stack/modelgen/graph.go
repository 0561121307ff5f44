package modelgen

import (
	"fmt"
	"math"
)

// graph collects a model's nodes and weights in the order of computation.
type graph struct {
	name    string
	nodes   [][]byte // encoded
	weights []weight
	inputs  [][]byte // encoded
	outputs [][]byte // encoded
	count   int      // of names given
}

// weight is a float initializer with uniform values in [-bound, bound].
type weight struct {
	name  string
	dims  []int64
	bound float64
}

func newGraph(name string) *graph { return &graph{name: name} }

// image is a tensor within a CNN: its name and its size without the batch.
type image struct {
	name    string
	c, h, w int
}

// fresh gives a name to a tensor.
func (g *graph) fresh(op string) string {
	g.count++
	return fmt.Sprintf("%s_%d", op, g.count)
}

// apply appends a node with one output and returns that output's name.
func (g *graph) apply(op string, inputs []string, attrs ...attribute) string {
	out := g.fresh(op)
	g.nodes = append(g.nodes, encodeNode(op, inputs, []string{out}, attrs))
	return out
}

// random appends an initializer with uniform values of the standard deviation
// given.
func (g *graph) random(std float64, dims ...int64) string {
	name := g.fresh("weight")
	g.weights = append(g.weights, weight{name: name, dims: dims, bound: std * math.Sqrt(3)})
	return name
}

// Gains that keep the variance of activations: He's for a layer that ReLU
// follows, which halves it; one for a linear layer; and little for the last
// layer of a residual branch, whose output is added to what came in, so that a
// stack of many blocks stays bounded.
const (
	gainReLU     = math.Sqrt2
	gainLinear   = 1
	gainResidual = 0.3
)

const biasStd = 0.02

type convolution struct {
	channels    int // of the output
	kernel      int
	stride, pad int
	groups      int // 0 means 1
	gain        float64
}

// conv is a convolution with its bias, as it is left once batch normalization
// has been folded into it.
func (g *graph) conv(x image, l convolution) image {
	groups := max(l.groups, 1)
	fanIn := x.c / groups * l.kernel * l.kernel
	k := int64(l.kernel)
	w := g.random(l.gain/math.Sqrt(float64(fanIn)), int64(l.channels), int64(x.c/groups), k, k)
	b := g.random(biasStd, int64(l.channels))
	p := int64(l.pad)
	out := g.apply("Conv", []string{x.name, w, b},
		ints("kernel_shape", k, k),
		ints("strides", int64(l.stride), int64(l.stride)),
		ints("pads", p, p, p, p),
		integer("group", int64(groups)))
	side := func(n int) int { return (n+2*l.pad-l.kernel)/l.stride + 1 }
	return image{out, l.channels, side(x.h), side(x.w)}
}

func (g *graph) relu(x image) image {
	x.name = g.apply("Relu", []string{x.name})
	return x
}

func (g *graph) convReLU(x image, l convolution) image {
	l.gain = gainReLU
	return g.relu(g.conv(x, l))
}

func (g *graph) add(a, b image) image {
	a.name = g.apply("Add", []string{a.name, b.name})
	return a
}

// concat joins two images along their channels.
func (g *graph) concat(a, b image) image {
	a.name = g.apply("Concat", []string{a.name, b.name}, integer("axis", 1))
	a.c += b.c
	return a
}

func (g *graph) maxPool(x image, kernel, stride, pad int) image {
	k, s, p := int64(kernel), int64(stride), int64(pad)
	x.name = g.apply("MaxPool", []string{x.name},
		ints("kernel_shape", k, k), ints("strides", s, s), ints("pads", p, p, p, p))
	side := func(n int) int { return (n+2*pad-kernel)/stride + 1 }
	x.h, x.w = side(x.h), side(x.w)
	return x
}

func (g *graph) globalAveragePool(x image) image {
	x.name = g.apply("GlobalAveragePool", []string{x.name})
	x.h, x.w = 1, 1
	return x
}

func (g *graph) flatten(x image) image {
	x.name = g.apply("Flatten", []string{x.name}, integer("axis", 1))
	return image{x.name, x.c * x.h * x.w, 1, 1}
}

// dense is a fully connected layer on a flattened image.
func (g *graph) dense(x image, channels int, gain float64) image {
	w := g.random(gain/math.Sqrt(float64(x.c)), int64(channels), int64(x.c))
	b := g.random(biasStd, int64(channels))
	x.name = g.apply("Gemm", []string{x.name, w, b}, integer("transB", 1))
	x.c = channels
	return x
}

const classes = 1000

// imageInput declares the input of a CNN.
func (g *graph) imageInput(s Spec) image {
	n := int64(s.Resolution)
	g.inputs = append(g.inputs, encodeValueInfo("input", elemFloat, batchDim(s), dim{value: 3}, dim{value: n}, dim{value: n}))
	return image{"input", 3, s.Resolution, s.Resolution}
}

// probabilities ends a CNN: softmax over the logits, flattened.
func (g *graph) probabilities(s Spec, logits image) {
	g.nodes = append(g.nodes, encodeNode("Softmax", []string{logits.name}, []string{"output"}, []attribute{integer("axis", 1)}))
	g.outputs = append(g.outputs, encodeValueInfo("output", elemFloat, batchDim(s), dim{value: classes}))
}

func batchDim(s Spec) dim {
	if s.Batch < 0 {
		return dim{param: "batch"}
	}
	return dim{value: int64(s.Batch)}
}

// channels scales a number of channels, to a multiple of eight as the papers do.
func (s Spec) channels(n int) int {
	return max(8, int(math.Round(float64(n)*s.Width/8))*8)
}

package modelgen

// squeezeNet is version 1.1: fire modules, each a narrow 1x1 layer that feeds a
// 1x1 and a 3x3 layer side by side.
func squeezeNet(g *graph, s Spec) {
	fire := func(x image, squeeze, expand int) image {
		x = g.convReLU(x, convolution{channels: s.channels(squeeze), kernel: 1, stride: 1})
		one := g.convReLU(x, convolution{channels: s.channels(expand), kernel: 1, stride: 1})
		three := g.convReLU(x, convolution{channels: s.channels(expand), kernel: 3, stride: 1, pad: 1})
		return g.concat(one, three)
	}
	x := g.imageInput(s)
	x = g.convReLU(x, convolution{channels: s.channels(64), kernel: 3, stride: 2})
	x = g.maxPool(x, 3, 2, 0)
	x = fire(fire(x, 16, 64), 16, 64)
	x = g.maxPool(x, 3, 2, 0)
	x = fire(fire(x, 32, 128), 32, 128)
	x = g.maxPool(x, 3, 2, 0)
	x = fire(fire(x, 48, 192), 48, 192)
	x = fire(fire(x, 64, 256), 64, 256)
	x = g.conv(x, convolution{channels: classes, kernel: 1, stride: 1, gain: gainLinear})
	g.probabilities(s, g.flatten(g.globalAveragePool(x)))
}

// mobileNetV2 is a stack of inverted residuals: expand by 1x1, filter each
// channel by 3x3, project by 1x1, with ReLU6 between.
func mobileNetV2(g *graph, s Spec) {
	low, high := g.constant(0), g.constant(6)
	relu6 := func(x image) image {
		x.name = g.apply("Clip", []string{x.name, low, high})
		return x
	}
	block := func(x image, expand, channels, stride int) image {
		hidden, y := x.c*expand, x
		if expand > 1 {
			y = relu6(g.conv(y, convolution{channels: hidden, kernel: 1, stride: 1, gain: gainReLU}))
		}
		y = relu6(g.conv(y, convolution{channels: hidden, kernel: 3, stride: stride, pad: 1, groups: hidden, gain: gainReLU}))
		if stride == 1 && x.c == channels {
			return g.add(x, g.conv(y, convolution{channels: channels, kernel: 1, stride: 1, gain: gainResidual}))
		}
		return g.conv(y, convolution{channels: channels, kernel: 1, stride: 1, gain: gainLinear})
	}

	x := relu6(g.conv(g.imageInput(s), convolution{channels: s.channels(32), kernel: 3, stride: 2, pad: 1, gain: gainReLU}))
	for _, stage := range []struct{ expand, channels, repeat, stride int }{
		{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
	} {
		for i := range stage.repeat {
			stride := 1
			if i == 0 {
				stride = stage.stride
			}
			x = block(x, stage.expand, s.channels(stage.channels), stride)
		}
	}
	x = relu6(g.conv(x, convolution{channels: s.channels(1280), kernel: 1, stride: 1, gain: gainReLU}))
	x = g.flatten(g.globalAveragePool(x))
	g.probabilities(s, g.dense(x, classes, gainLinear))
}

func resNet18(g *graph, s Spec) {
	resNet(g, s, [4]int{2, 2, 2, 2}, 1, func(x image, width, stride int) image {
		y := g.convReLU(x, convolution{channels: width, kernel: 3, stride: stride, pad: 1})
		return g.conv(y, convolution{channels: width, kernel: 3, stride: 1, pad: 1, gain: gainResidual})
	})
}

func resNet50(g *graph, s Spec) {
	const expansion = 4
	resNet(g, s, [4]int{3, 4, 6, 3}, expansion, func(x image, width, stride int) image {
		y := g.convReLU(x, convolution{channels: width, kernel: 1, stride: 1})
		y = g.convReLU(y, convolution{channels: width, kernel: 3, stride: stride, pad: 1})
		return g.conv(y, convolution{channels: width * expansion, kernel: 1, stride: 1, gain: gainResidual})
	})
}

// resNet is four stages of residual blocks; branch is the part of a block that
// the shortcut goes around.
func resNet(g *graph, s Spec, blocks [4]int, expansion int, branch func(x image, width, stride int) image) {
	x := g.convReLU(g.imageInput(s), convolution{channels: s.channels(64), kernel: 7, stride: 2, pad: 3})
	x = g.maxPool(x, 3, 2, 1)
	for stage, n := range blocks {
		width := s.channels(64 << stage)
		for i := range n {
			stride := 1
			if i == 0 && stage > 0 {
				stride = 2
			}
			y, shortcut := branch(x, width, stride), x
			if stride != 1 || x.c != width*expansion {
				shortcut = g.conv(x, convolution{channels: width * expansion, kernel: 1, stride: stride, gain: gainLinear})
			}
			x = g.relu(g.add(y, shortcut))
		}
	}
	x = g.flatten(g.globalAveragePool(x))
	g.probabilities(s, g.dense(x, classes, gainLinear))
}

func vgg16(g *graph, s Spec) {
	x := g.imageInput(s)
	for _, stage := range []struct{ repeat, channels int }{{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}} {
		for range stage.repeat {
			x = g.convReLU(x, convolution{channels: s.channels(stage.channels), kernel: 3, stride: 1, pad: 1})
		}
		x = g.maxPool(x, 2, 2, 0)
	}
	x = g.flatten(x)
	for range 2 {
		x = g.relu(g.dense(x, s.channels(4096), gainReLU))
	}
	g.probabilities(s, g.dense(x, classes, gainLinear))
}

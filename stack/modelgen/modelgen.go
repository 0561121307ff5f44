// Package modelgen writes ONNX models of the CNN families that the literature
// on GPU inference measures with, and a few tiny ones for tests. The weights
// come from a seeded generator: the models compute nothing meaningful, but they
// have the real layers, sizes and costs, their activations stay bounded (in half
// precision too), and models of different seeds answer differently.
//
// Equal specs give equal bytes on every machine. Nothing is held in memory but
// the graph: weights are generated while they are written.
package modelgen

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Spec says which model to write.
type Spec struct {
	Family Family
	// Seed of the weights.
	Seed uint64
	// Width multiplies the number of channels of the CNN families; 0 means 1. It
	// is at most 4.
	Width float64
	// Resolution is the height and width of the input of the CNN families and of
	// Relu, in pixels; 0 means 224. It is from 32 to 1024.
	Resolution int
	// Batch is the first dimension of the CNN families; 0 means 1, and -1 a
	// dynamic dimension named "batch".
	Batch int
}

// Family of a model.
type Family string

// The CNN families take images, 1x3x224x224 FP32 by default, named "input", and
// give "output", the probabilities of 1000 classes.
const (
	SqueezeNet  Family = "squeezenet1.1"
	MobileNetV2 Family = "mobilenetv2"
	ResNet18    Family = "resnet18"
	ResNet50    Family = "resnet50"
	VGG16       Family = "vgg16"
)

// The tiny models.
const (
	// Relu takes and gives an image; it has no weights.
	Relu Family = "relu"
	// Scale multiplies its input, FP32 of shape [-1,4], by a constant that
	// depends on the seed.
	Scale Family = "scale"
	// Endless takes FP32 [1] and never answers.
	Endless Family = "endless"
	// Huge takes n, INT64 [1], makes 16 tensors of n floats each and gives their
	// maximum, FP32 [1].
	Huge Family = "huge"
)

// families builds each family's graph.
var families = map[Family]func(*graph, Spec){
	SqueezeNet:  squeezeNet,
	MobileNetV2: mobileNetV2,
	ResNet18:    resNet18,
	ResNet50:    resNet50,
	VGG16:       vgg16,
	Relu:        reluOnly,
	Scale:       scale,
	Endless:     endless,
	Huge:        huge,
}

// Families lists what can be written, in alphabetical order.
func Families() []Family { return slices.Sorted(maps.Keys(families)) }

// Write writes the model that s describes.
func Write(w io.Writer, s Spec) error {
	s, err := s.withDefaults()
	if err != nil {
		return err
	}
	g := newGraph(string(s.Family))
	families[s.Family](g, s)

	if err := writeGraph(w, g, s.Seed); err != nil {
		return fmt.Errorf("write %s: %w", s.Family, err)
	}
	return nil
}

func writeGraph(w io.Writer, g *graph, seed uint64) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if err := g.encode(b, seed); err != nil {
		return err
	}
	return b.Flush()
}

func (s Spec) withDefaults() (Spec, error) {
	if s.Width == 0 {
		s.Width = 1
	}
	if s.Resolution == 0 {
		s.Resolution = 224
	}
	if s.Batch == 0 {
		s.Batch = 1
	}
	switch {
	case families[s.Family] == nil:
		return s, fmt.Errorf("family %q is not one of %v", s.Family, Families())
	case !(s.Width > 0 && s.Width <= 4):
		return s, fmt.Errorf("width %g is not in (0, 4]", s.Width)
	case s.Resolution < 32 || s.Resolution > 1024:
		return s, fmt.Errorf("resolution %d is not from 32 to 1024", s.Resolution)
	case s.Batch < -1 || s.Batch > 1024:
		return s, fmt.Errorf("batch %d is not -1 (dynamic) or from 1 to 1024", s.Batch)
	}
	return s, nil
}

// Package digits holds the handwritten digits that the demo, the benchmarks and
// the tests run on: the model that train.py made of scikit-learn's data, and
// real scans that it has not seen in training.
package digits

import (
	"bytes"
	_ "embed"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strconv"
	"strings"
)

// Side is the width and height of a scan in pixels, Ink the value of a pixel
// that is all ink; paper is 0.
const (
	Side = 8
	Ink  = 16
)

// Model is an ONNX file: input "pixels" FP32 [1,1,8,8] of 0 to Ink, output
// "probabilities" FP32 [1,10].
//
//go:embed model.onnx
var Model []byte

//go:embed heldout.csv
var heldOut string

// Scan is one handwritten digit, row by row.
type Scan struct {
	Pixels [Side * Side]uint8
	Digit  int
}

// HeldOut is the scans that the model was not trained on.
func HeldOut() ([]Scan, error) {
	var scans []Scan
	for line := range strings.Lines(heldOut) {
		s, err := parse(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("heldout.csv, line %d: %w", len(scans)+1, err)
		}
		scans = append(scans, s)
	}
	return scans, nil
}

// parse reads 64 pixels and the digit, separated by commas.
func parse(line string) (Scan, error) {
	var s Scan
	fields := strings.Split(line, ",")
	if len(fields) != len(s.Pixels)+1 {
		return s, fmt.Errorf("%d fields instead of %d", len(fields), len(s.Pixels)+1)
	}
	for i, f := range fields {
		limit := Ink
		if i == len(s.Pixels) {
			limit = 9
		}
		n, err := strconv.Atoi(f)
		if err != nil || n < 0 || n > limit {
			return s, fmt.Errorf("field %d: %q is not a number from 0 to %d", i+1, f, limit)
		}
		if i == len(s.Pixels) {
			s.Digit = n
		} else {
			s.Pixels[i] = uint8(n)
		}
	}
	return s, nil
}

// Input is the scan as the model takes it.
func (s Scan) Input() []float32 {
	in := make([]float32, len(s.Pixels))
	for i, p := range s.Pixels {
		in[i] = float32(p)
	}
	return in
}

// PNG is the scan as a grey 8x8 picture, white ink on black.
func (s Scan) PNG() ([]byte, error) {
	img := image.NewGray(image.Rect(0, 0, Side, Side))
	for i, p := range s.Pixels {
		img.SetGray(i%Side, i/Side, color.Gray{Y: uint8((int(p)*255 + Ink/2) / Ink)})
	}
	var buf bytes.Buffer
	err := png.Encode(&buf, img)
	return buf.Bytes(), err
}

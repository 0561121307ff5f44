// Package scan reads a handwritten digit out of a request, as the model of the
// templates takes it.
package scan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
)

// The model takes Side x Side pixels of 0 (paper) to Ink.
const (
	Side = 8
	Ink  = 16
)

const (
	maxBody = 1 << 20 // bytes
	maxSide = 2048    // pixels of a picture, either way
)

var pngSignature = []byte("\x89PNG\r\n\x1a\n")

// Read reads a body, which is either a PNG or JSON: an array of 64 numbers from 0
// to 16, or an object with that array as "pixels". Errors say what is expected.
func Read(body io.Reader) ([]float32, error) {
	pixels, err := read(body)
	if err != nil {
		return nil, fmt.Errorf("%w; expected is a PNG of one handwritten digit, or JSON with %d pixels, row by row, from 0 (paper) to %d (ink)",
			err, Side*Side, Ink)
	}
	return pixels, nil
}

func read(body io.Reader) ([]float32, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the body cannot be read: %w", err)
	case len(data) > maxBody:
		return nil, fmt.Errorf("a body of more than %d bytes", maxBody)
	case bytes.HasPrefix(data, pngSignature):
		return fromPNG(data)
	}
	return fromJSON(data)
}

func fromJSON(data []byte) ([]float32, error) {
	var pixels []float32
	if json.Unmarshal(data, &pixels) != nil {
		var object struct {
			Pixels []float32 `json:"pixels"`
		}
		if err := json.Unmarshal(data, &object); err != nil {
			return nil, fmt.Errorf("neither a PNG nor pixels as JSON: %w", err)
		}
		pixels = object.Pixels
	}
	if len(pixels) != Side*Side {
		return nil, fmt.Errorf("%d pixels", len(pixels))
	}
	for i, p := range pixels {
		if p < 0 || p > Ink {
			return nil, fmt.Errorf("pixel %d is %g", i, p)
		}
	}
	return pixels, nil
}

// fromPNG takes an 8x8 picture as it is, white ink on black. A larger one is
// made into what the model was trained on: the ink, dark or light, is framed,
// scaled to 32x32 and counted in blocks of 4x4.
func fromPNG(data []byte) ([]float32, error) {
	size, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("a PNG that cannot be read: %w", err)
	}
	if size.Width > maxSide || size.Height > maxSide {
		return nil, fmt.Errorf("a PNG of %dx%d pixels, larger than %dx%d", size.Width, size.Height, maxSide, maxSide)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("a PNG that cannot be read: %w", err)
	}
	grey := toGrey(img)
	if size.Width == Side && size.Height == Side {
		return asIs(grey), nil
	}
	if edgeIsLight(grey) {
		for i := range grey.Pix {
			grey.Pix[i] = 255 - grey.Pix[i]
		}
	}
	frame := inkFrame(grey)
	if frame.Empty() {
		return nil, errors.New("a PNG without any ink")
	}
	return countBlocks(grey, frame), nil
}

// toGrey flattens a picture onto white paper, with its corner at 0,0.
func toGrey(img image.Image) *image.Gray {
	b := img.Bounds()
	grey := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			r, g, bl, a := img.At(b.Min.X+x, b.Min.Y+y).RGBA()
			paper := 0xffff - a
			grey.Set(x, y, color.RGBA64{uint16(r + paper), uint16(g + paper), uint16(bl + paper), 0xffff})
		}
	}
	return grey
}

func asIs(grey *image.Gray) []float32 {
	pixels := make([]float32, 0, Side*Side)
	for y := range Side {
		for x := range Side {
			pixels = append(pixels, float32((int(grey.GrayAt(x, y).Y)*Ink+127)/255))
		}
	}
	return pixels
}

// edgeIsLight reports whether the outermost pixels are light on average: then
// the picture is dark ink on light paper.
func edgeIsLight(grey *image.Gray) bool {
	b := grey.Bounds()
	sum, n := 0, 0
	for y := range b.Dy() {
		for x := range b.Dx() {
			if x == 0 || y == 0 || x == b.Max.X-1 || y == b.Max.Y-1 {
				sum += int(grey.GrayAt(x, y).Y)
				n++
			}
		}
	}
	return n > 0 && sum > n*127
}

// isInk reports whether a pixel belongs to the digit.
func isInk(grey *image.Gray, x, y int) bool { return grey.GrayAt(x, y).Y > 127 }

// inkFrame is the smallest rectangle with all the ink.
func inkFrame(grey *image.Gray) image.Rectangle {
	var frame image.Rectangle
	b := grey.Bounds()
	for y := range b.Dy() {
		for x := range b.Dx() {
			if isInk(grey, x, y) {
				frame = frame.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return frame
}

// countBlocks scales the frame to a height (or width) of 32, centres it and
// counts the ink in blocks of 4x4, so that a block is 0 to 16.
func countBlocks(grey *image.Gray, frame image.Rectangle) []float32 {
	const fine, block = 32, 4
	longest := max(frame.Dx(), frame.Dy())
	left := frame.Min.X - (longest-frame.Dx())/2
	top := frame.Min.Y - (longest-frame.Dy())/2
	pixels := make([]float32, Side*Side)
	for y := range fine {
		for x := range fine {
			// The middle of the fine pixel, in the picture.
			from := image.Pt(left+(2*x+1)*longest/(2*fine), top+(2*y+1)*longest/(2*fine))
			if from.In(frame) && isInk(grey, from.X, from.Y) {
				pixels[y/block*Side+x/block]++
			}
		}
	}
	return pixels
}

package function

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"slices"
	"strings"
	"testing"
)

func encode(t *testing.T, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// bar is a picture with a vertical bar a quarter as wide as it is high.
func bar(size int, paper, inked color.Color) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			img.Set(x, y, paper)
			if y >= size/4 && y < size*3/4 && x >= size/2 && x < size/2+size/8 {
				img.Set(x, y, inked)
			}
		}
	}
	return img
}

func TestSmallPictureIsTakenAsIs(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, side, side))
	want := make([]float32, side*side)
	for i := range want {
		level := i % (ink + 1)
		img.Pix[i] = uint8((level*255 + ink/2) / ink)
		want[i] = float32(level)
	}
	got, err := readPixels(bytes.NewReader(encode(t, img)))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
}

func TestLargePictureIsFramedEitherWayRound(t *testing.T) {
	// A bar four times as high as wide fills the two columns in the middle.
	var want []float32
	for range side {
		want = append(want, 0, 0, 0, ink, ink, 0, 0, 0)
	}
	for name, img := range map[string]image.Image{
		"dark on light":       bar(64, color.White, color.Black),
		"light on dark":       bar(256, color.Black, color.White),
		"dark on transparent": bar(128, color.Transparent, color.Black),
	} {
		got, err := readPixels(bytes.NewReader(encode(t, img)))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	array := "[" + strings.Repeat("3,", side*side-1) + "16]"
	for _, body := range []string{array, `{"pixels":` + array + `}`} {
		got, err := readPixels(strings.NewReader(body))
		if err != nil || len(got) != side*side || got[0] != 3 || got[63] != 16 {
			t.Errorf("%s: got %v, %v", body, got, err)
		}
	}
}

func TestBadBodiesSayWhatIsExpected(t *testing.T) {
	whole := encode(t, bar(64, color.White, color.Black))
	for name, body := range map[string][]byte{
		"nothing":         {},
		"text":            []byte("seven"),
		"too few pixels":  []byte("[1,2,3]"),
		"too much ink":    []byte("[" + strings.Repeat("0,", side*side-1) + "17]"),
		"truncated PNG":   whole[:len(whole)/2],
		"PNG without ink": encode(t, bar(64, color.White, color.White)),
		"huge PNG":        encode(t, image.NewGray(image.Rect(0, 0, maxSide+1, 1))),
	} {
		_, err := readPixels(bytes.NewReader(body))
		if err == nil || !strings.Contains(err.Error(), "expected is a PNG") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

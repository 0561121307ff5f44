package scan

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
	img := image.NewGray(image.Rect(0, 0, Side, Side))
	want := make([]float32, Side*Side)
	for i := range want {
		level := i % (Ink + 1)
		img.Pix[i] = uint8((level*255 + Ink/2) / Ink)
		want[i] = float32(level)
	}
	got, err := Read(bytes.NewReader(encode(t, img)))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
}

func TestLargePictureIsFramedEitherWayRound(t *testing.T) {
	// A bar four times as high as wide fills the two columns in the middle.
	var want []float32
	for range Side {
		want = append(want, 0, 0, 0, Ink, Ink, 0, 0, 0)
	}
	for name, img := range map[string]image.Image{
		"dark on light":       bar(64, color.White, color.Black),
		"light on dark":       bar(256, color.Black, color.White),
		"dark on transparent": bar(128, color.Transparent, color.Black),
	} {
		got, err := Read(bytes.NewReader(encode(t, img)))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	array := "[" + strings.Repeat("3,", Side*Side-1) + "16]"
	for _, body := range []string{array, `{"pixels":` + array + `}`} {
		got, err := Read(strings.NewReader(body))
		if err != nil || len(got) != Side*Side || got[0] != 3 || got[63] != 16 {
			t.Errorf("%s: got %v, %v", body, got, err)
		}
	}
}

func TestBadBodiesSayWhatIsExpected(t *testing.T) {
	whole := encode(t, bar(64, color.White, color.Black))
	for name, body := range map[string][]byte{
		"nothing":         {},
		"too much":        bytes.Repeat([]byte(" "), maxBody+1),
		"text":            []byte("seven"),
		"too few pixels":  []byte("[1,2,3]"),
		"too much Ink":    []byte("[" + strings.Repeat("0,", Side*Side-1) + "17]"),
		"truncated PNG":   whole[:len(whole)/2],
		"PNG without Ink": encode(t, bar(64, color.White, color.White)),
		"huge PNG":        encode(t, image.NewGray(image.Rect(0, 0, maxSide+1, 1))),
	} {
		_, err := Read(bytes.NewReader(body))
		if err == nil || !strings.Contains(err.Error(), "expected is a PNG") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	var small bytes.Buffer
	if err := png.Encode(&small, bar(16, color.White, color.Black)); err != nil {
		f.Fatal(err)
	}
	f.Add(small.Bytes())
	f.Add(small.Bytes()[:40])
	f.Add([]byte("[1,2,3]"))
	f.Add([]byte(`{"pixels":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		pixels, err := Read(bytes.NewReader(body))
		if err != nil {
			return
		}
		if len(pixels) != Side*Side {
			t.Fatalf("%d pixels", len(pixels))
		}
		for i, p := range pixels {
			if !(p >= 0 && p <= Ink) {
				t.Errorf("pixel %d is %g", i, p)
			}
		}
	})
}

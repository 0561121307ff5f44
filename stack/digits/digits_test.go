package digits

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHeldOut(t *testing.T) {
	scans, err := HeldOut()
	if err != nil {
		t.Fatal(err)
	}
	if len(scans) < 300 {
		t.Errorf("%d scans are too few to tell an accuracy", len(scans))
	}
	var perDigit [10]int
	for _, s := range scans {
		perDigit[s.Digit]++
	}
	for digit, n := range perDigit {
		if n < 20 {
			t.Errorf("only %d scans of digit %d", n, digit)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := strings.Repeat("7,", Side*Side) + "3"
	if s, err := parse(good); err != nil || s.Digit != 3 || s.Pixels[63] != 7 {
		t.Fatalf("parse(%q) = %v, %v", good, s, err)
	}
	for name, line := range map[string]string{
		"empty":         "",
		"no digit":      strings.TrimSuffix(good, ",3"),
		"too many":      good + ",1",
		"too much ink":  strings.Replace(good, "7", "17", 1),
		"negative":      strings.Replace(good, "7", "-1", 1),
		"not a number":  strings.Replace(good, "7", "x", 1),
		"no such digit": good + "0",
	} {
		if _, err := parse(line); err == nil {
			t.Errorf("%s: %q was accepted", name, line)
		}
	}
}

func TestPNGKeepsEveryPixel(t *testing.T) {
	var s Scan
	for i := range s.Pixels {
		s.Pixels[i] = uint8(i % (Ink + 1))
	}
	data, err := s.PNG()
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range s.Pixels {
		grey, _, _, _ := img.At(i%Side, i/Side).RGBA()
		if got := (int(grey>>8)*Ink + 127) / 255; got != int(want) {
			t.Errorf("pixel %d: %d, want %d", i, got, want)
		}
	}
}

func TestTemplatesHaveTheSameModel(t *testing.T) {
	copies, err := filepath.Glob("../../template/*/function/example/digits/1/model.onnx")
	if err != nil || len(copies) == 0 {
		t.Fatalf("no template has the model: %v", err)
	}
	for _, name := range copies {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, Model) {
			t.Errorf("%s is not stack/digits/model.onnx: run train.py", name)
		}
	}
}

// What the READMEs have people send is the first of the scans, a 2.
func TestTemplatesHaveAScan(t *testing.T) {
	scans, err := HeldOut()
	if err != nil {
		t.Fatal(err)
	}
	picture, err := scans[0].PNG()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(scans[0].Input())
	if err != nil {
		t.Fatal(err)
	}
	tensor := fmt.Appendf(nil, `{"inputs":[{"name":"pixels","datatype":"FP32","shape":[1,1,8,8],"data":%s}]}`, text)
	for name, want := range map[string][]byte{
		"go-trt/function/digit.png": picture, "python-trt/function/digit.json": text, "trt-model/function/digit.json": tensor,
	} {
		data, err := os.ReadFile("../../template/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(data), want) || scans[0].Digit != 2 {
			t.Errorf("template/%s is not the first scan, %s", name, text)
		}
	}
}

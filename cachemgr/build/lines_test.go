package build

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestReadLines(t *testing.T) {
	var got []string
	last, err := readLines(strings.NewReader(`{"phase":"parse"}
a library says something
{"phase":"build","fraction":0.429}
{"phase":"build","fraction":7}
{"phase":"new","fraction":0.1}
{"done":true,"bytes":12,"tensorrt":"8.5.3","device":"NVIDIA H200","uuid":"GPU-1","sm":"9.0","seconds":1.5}
`), func(p Progress) { got = append(got, p.String()) })
	if err != nil || last.Target != (Target{"8.5.3", "NVIDIA H200", "9.0"}) || !last.Done {
		t.Errorf("%+v, %v", last, err)
	}
	if want := []string{"reading the ONNX file", "building, 42 %", "building, 100 %"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestReadLinesOfAFailure(t *testing.T) {
	for code, is := range map[string]error{
		"bad_model": engine.ErrBadModel, "no_memory": engine.ErrNoMemory,
		"device_lost": engine.ErrDeviceLost, "unavailable": engine.ErrUnavailable,
	} {
		_, err := readLines(strings.NewReader(`{"error":"the \u00e9 reason","code":"`+code+`"}`), ignore)
		if !errors.Is(err, is) || !strings.Contains(err.Error(), "the é reason") {
			t.Errorf("%s: %v", code, err)
		}
	}
	if _, err := readLines(strings.NewReader(`{"error":"x","code":"new"}`), ignore); err == nil || errors.Is(err, engine.ErrBadModel) {
		t.Errorf("a code that is not known: %v", err)
	}
}

func FuzzReadLines(f *testing.F) {
	f.Add("{\"phase\":\"build\",\"fraction\":0.5}\n{\"done\":true}\n")
	f.Add(`{"error":"x","code":"bad_model"}`)
	f.Add("{}\n\n[]\n{\"phase\":1}\n{\"fraction\":1e999,\"phase\":\"build\"}")
	f.Add(strings.Repeat("x", maxLine+1))
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = readLines(strings.NewReader(text), func(p Progress) {
			if p.Fraction != unknown && !(p.Fraction >= 0 && p.Fraction <= 1) || p.String() == "" {
				t.Errorf("%+v", p)
			}
		})
	})
}

package oip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// readJSON reads a request that is JSON alone.
func readJSON(text string) (*Request, error) {
	return NewCodec(1<<20).ReadRequest(strings.NewReader(text), int64(len(text)), -1)
}

// readBinary reads a request with binary data behind its header.
func readBinary(header, data string) (*Request, error) {
	return NewCodec(1<<20).ReadRequest(strings.NewReader(header+data), int64(len(header)+len(data)), int64(len(header)))
}

func floats(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func TestRequestInJSON(t *testing.T) {
	tests := []struct {
		name, datatype, shape, data string
		want                        []byte
	}{
		{"flat", "FP32", "[2,2]", "[1, 2.5, -3e2, 4]", floats(1, 2.5, -300, 4)},
		{"nested", "FP32", "[2,2]", "[[1,2.5],[-3E+2,4]]", floats(1, 2.5, -300, 4)},
		{"deeper", "UINT8", "[2,1,2]", "[[[1,2]],[[3,4]]]", []byte{1, 2, 3, 4}},
		{"scalar", "INT8", "[]", "[-128]", []byte{0x80}},
		{"nothing", "FP32", "[0]", "[]", []byte{}},
		{"nothing, nested", "FP32", "[2,0]", "[[],[]]", []byte{}},
		{"double", "FP64", "[1]", "[0.1]", binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1))},
		{"bool", "BOOL", "[2]", "[true,false]", []byte{1, 0}},
		{"int16", "INT16", "[2]", "[-32768,32767]", []byte{0, 0x80, 0xff, 0x7f}},
		{"uint16", "UINT16", "[1]", "[65535]", []byte{0xff, 0xff}},
		{"int32", "INT32", "[1]", "[-1]", []byte{0xff, 0xff, 0xff, 0xff}},
		{"uint32", "UINT32", "[1]", "[4294967295]", []byte{0xff, 0xff, 0xff, 0xff}},
		{"int64", "INT64", "[1]", "[-9223372036854775808]", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}},
		{"uint64", "UINT64", "[1]", "[18446744073709551615]", bytes.Repeat([]byte{0xff}, 8)},
		{"strings", "BYTES", "[2]", `["a\né","\ud83d\ude00\/"]`, []byte("\x04\x00\x00\x00a\né\x05\x00\x00\x00😀/")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The order of fields is free: data may come before what explains it.
			for _, text := range []string{
				`{"id":"7","inputs":[{"name":"x","shape":` + tt.shape + `,"datatype":"` + tt.datatype + `","data":` + tt.data + `}]}`,
				` { "inputs" : [ { "data":` + tt.data + `,"parameters":null,"datatype":"` + tt.datatype + `","shape":` + tt.shape + `, "later":{"a":[1,{}]},"n\u0061me":"x" } ],"id":"7","outputs":null}`,
			} {
				r, err := readJSON(text)
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				in := r.Inputs[0]
				if r.ID != "7" || in.Name != "x" || string(in.Datatype) != tt.datatype || in.Data == nil || !bytes.Equal(in.Data, tt.want) {
					t.Errorf("%s: read %+v, want data %x", text, in, tt.want)
				}
				r.Release()
				r.Release()
			}
		})
	}
}

func TestRequestedOutputs(t *testing.T) {
	in := `"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","data":[1]}]`
	tests := []struct {
		text string
		want map[string]bool // binary
	}{
		{`{` + in + `}`, map[string]bool{"any": false}},
		{`{` + in + `,"parameters":{"binary_data_output":true,"other":"x"}}`, map[string]bool{"any": true}},
		{`{"parameters":{"binary_data_output":true},"outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":false}}],` + in + `}`,
			map[string]bool{"a": true, "b": false}},
		{`{"outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":true}}],` + in + `}`, map[string]bool{"a": false, "b": true}},
	}
	for _, tt := range tests {
		r, err := readJSON(tt.text)
		if err != nil {
			t.Fatalf("%s: %v", tt.text, err)
		}
		for name, want := range tt.want {
			if got := r.WantsBinary(name); got != want {
				t.Errorf("%s: output %s binary %v, want %v", tt.text, name, got, want)
			}
		}
	}
}

func TestBinaryTensorsAreAlignedAndNotCopied(t *testing.T) {
	head := `{"inputs":[{"name":"a","shape":[3],"datatype":"UINT8","parameters":{"binary_data_size":3}},` +
		`{"name":"j","shape":[2],"datatype":"INT8","data":[5,6]},` +
		`{"name":"b","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}},` +
		`{"name":"s","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}]}`
	data := "abcxy\x01\x00\x00\x00q\x00\x00\x00\x00"
	whole := head + data
	for name, r := range map[string]io.Reader{
		"at once":           strings.NewReader(whole),
		"one byte a read":   iotest.OneByteReader(strings.NewReader(whole)),
		"EOF with the data": iotest.DataErrReader(strings.NewReader(whole)),
	} {
		for _, length := range []int64{int64(len(whole)), -1} {
			if length < 0 && name == "at once" {
				r = strings.NewReader(whole)
			} else if length < 0 {
				r = iotest.HalfReader(strings.NewReader(whole))
			}
			got, err := NewCodec(1<<20).ReadRequest(r, length, int64(len(head)))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, want := range []string{"abc", "\x05\x06", "xy", data[5:]} {
				in := got.Inputs[i]
				if string(in.Data) != want {
					t.Errorf("%s: input %s is %q, want %q", name, in.Name, in.Data, want)
				}
				if at := uintptr(unsafe.Pointer(unsafe.SliceData(in.Data))); at%buffer.Align != 0 {
					t.Errorf("%s: input %s starts at %x", name, in.Name, at)
				}
			}
			got.Release()
		}
	}
}

func TestLengths(t *testing.T) {
	ok := `{"inputs":[{"name":"x","shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4}}]}`
	n := int64(len(ok))
	big := `{"inputs":[{"name":"x","shape":[30],"datatype":"FP64","data":[` + strings.Repeat("1,", 29) + `1]}]}`
	tests := []struct {
		name           string
		body           string
		length, header int64
		limit          int64
		want           error
		says           string
	}{
		{"exact", ok + "abcd", n + 4, n, n + 4, nil, ""},
		{"length not known", ok + "abcd", -1, n, n + 4, nil, ""},
		{"said to be longer than allowed", ok + "abcd", n + 4, n, n + 3, ErrTooLarge, "at most"},
		{"found longer than allowed", ok + "abcd", -1, n, n + 3, ErrTooLarge, "at most"},
		{"header longer than allowed", ok, -1, 1 << 40, n, ErrTooLarge, "at most"},
		{"JSON found longer than allowed", ok, -1, -1, 20, ErrTooLarge, "at most 20"},
		{"header longer than the body", ok, n, n + 1, n + 9, ErrMalformed, HeaderLength},
		{"header cut off", ok[:9], n, n, n, ErrMalformed, "ends after 9 of"},
		{"data cut off", ok + "ab", n + 4, n, n + 4, ErrMalformed, "ends after 2 of 4"},
		{"data goes on", ok + "abcde", -1, n, n + 9, ErrMalformed, "goes on"},
		{"no header length", ok + "abcd", n + 4, -1, n + 4, ErrMalformed, "the end should be"},
		{"no header length nor data", ok, n, -1, n + 4, ErrMalformed, "no " + HeaderLength},
		{"elements that grow beyond the limit", big, int64(len(big)), -1, 200, ErrTooLarge, `input "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := NewCodec(tt.limit).ReadRequest(strings.NewReader(tt.body), tt.length, tt.header)
			if tt.want == nil {
				if err != nil || string(r.Inputs[0].Data) != "abcd" {
					t.Fatalf("read %+v, %v", r, err)
				}
				return
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %v with %q", err, tt.want, tt.says)
			}
		})
	}
}

func TestErrorsOfTheReaderPass(t *testing.T) {
	broken := errors.New("connection reset")
	_, err := NewCodec(100).ReadRequest(io.MultiReader(strings.NewReader(`{"inp`), iotest.ErrReader(broken)), 50, -1)
	if !errors.Is(err, broken) || errors.Is(err, ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

func TestLongJSONOfUnknownLength(t *testing.T) {
	n := 300_000
	text := `{"inputs":[{"name":"x","shape":[300000],"datatype":"UINT8","data":[` + strings.Repeat("7,", n-1) + `7]}]}`
	r, err := NewCodec(4<<20).ReadRequest(iotest.HalfReader(strings.NewReader(text)), -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Inputs[0].Data, bytes.Repeat([]byte{7}, n)) {
		t.Error("the data is not what was sent")
	}
}

func TestTooManyTensors(t *testing.T) {
	one := `{"name":"N","shape":[0],"datatype":"UINT8","data":[]}`
	var all []string
	for i := range 1025 {
		all = append(all, strings.Replace(one, "N", strings.Repeat("a", i+1), 1))
	}
	if _, err := readJSON(`{"inputs":[` + strings.Join(all, ",") + `]}`); !errors.Is(err, ErrMalformed) {
		t.Errorf("1025 inputs: %v", err)
	}
}

func tensorsEqual(a, b []tensor.Tensor) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Datatype != b[i].Datatype || !bytes.Equal(a[i].Data, b[i].Data) || len(a[i].Shape) != len(b[i].Shape) {
			return false
		}
		for j := range a[i].Shape {
			if a[i].Shape[j] != b[i].Shape[j] {
				return false
			}
		}
	}
	return true
}

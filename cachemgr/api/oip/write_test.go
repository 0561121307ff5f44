package oip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

func TestOutputsGoWhereTheCallerWants(t *testing.T) {
	c := NewCodec(1 << 20)
	m, err := c.EncodeResponse(exampleResponse(), func(name string) bool { return name != "label" })
	header, data := encode(t, m, err)
	fits, small := make([]byte, 12), make([]byte, 7)
	wanted := []Output{{Name: "probabilities", Into: fits}, {Name: "class", Into: small}, {Name: "label", Into: make([]byte, 11)}}
	r, err := c.ReadResponse(strings.NewReader(header+data), int64(len(header+data)), int64(len(header)), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if !tensorsEqual(r.Outputs, exampleResponse().Outputs) {
		t.Errorf("outputs %+v", r.Outputs)
	}
	if unsafe.SliceData(r.Output("probabilities").Data) != unsafe.SliceData(fits) {
		t.Error("an output of the right size is not in the caller's buffer")
	}
	r.Release()
	if !bytes.Equal(fits, floats(0.25, 1e-7, 3e20)) {
		t.Error("the caller's buffer has not the output")
	}
}

func TestWhatIsNotText(t *testing.T) {
	c := NewCodec(1 << 20)
	for _, x := range []tensor.Tensor{
		{Name: "x", Datatype: tensor.FP16, Shape: []int64{1}, Data: []byte{0, 0}},
		{Name: "x", Datatype: tensor.BF16, Shape: []int64{1}, Data: []byte{0, 0}},
		{Name: "x", Datatype: tensor.FP32, Shape: []int64{1}, Data: floats(float32(math.NaN()))},
		{Name: "x", Datatype: tensor.FP32, Shape: []int64{1}, Data: floats(float32(math.Inf(-1)))},
		{Name: "x", Datatype: tensor.Bytes, Shape: []int64{1}, Data: []byte("\x01\x00\x00\x00\xff")},
	} {
		r := &Response{Outputs: []tensor.Tensor{x}}
		if _, err := c.EncodeResponse(r, func(string) bool { return false }); !errors.Is(err, ErrNotText) || !strings.Contains(err.Error(), `"x"`) {
			t.Errorf("%s %x as JSON: %v", x.Datatype, x.Data, err)
		}
		if m, err := c.EncodeResponse(r, func(string) bool { return true }); err != nil {
			t.Errorf("%s %x as binary data: %v", x.Datatype, x.Data, err)
		} else {
			m.Release()
		}
		if _, err := c.EncodeRequest(&Request{Inputs: r.Outputs}, false); !errors.Is(err, ErrNotText) {
			t.Errorf("%s %x in a request: %v", x.Datatype, x.Data, err)
		}
	}
}

// Whatever an element is, JSON keeps it exactly.
func TestElementsSurviveJSON(t *testing.T) {
	c := NewCodec(1 << 20)
	max8 := bytes.Repeat([]byte{0xff}, 8)
	min8 := []byte{0, 0, 0, 0, 0, 0, 0, 0x80}
	var f32 []float32
	for _, v := range []float32{0, 1, -1, 0.1, math.MaxFloat32, math.SmallestNonzeroFloat32, 1e21, 1e-7, 16777217} {
		f32 = append(f32, v, -v)
	}
	response := &Response{Model: "m \"\\\n\x7f\u2028é", Outputs: []tensor.Tensor{
		{Name: "f32", Datatype: tensor.FP32, Shape: []int64{18}, Data: floats(f32...)},
		{Name: "f64", Datatype: tensor.FP64, Shape: []int64{1}, Data: []byte{1, 0, 0, 0, 0, 0, 0xf0, 0x3f}},
		{Name: "i8", Datatype: tensor.Int8, Shape: []int64{2}, Data: []byte{0x80, 0xff}},
		{Name: "i16", Datatype: tensor.Int16, Shape: []int64{4}, Data: min8},
		{Name: "i32", Datatype: tensor.Int32, Shape: []int64{2}, Data: min8},
		{Name: "i64", Datatype: tensor.Int64, Shape: []int64{1}, Data: min8},
		{Name: "u8", Datatype: tensor.Uint8, Shape: []int64{8}, Data: max8},
		{Name: "u16", Datatype: tensor.Uint16, Shape: []int64{4}, Data: max8},
		{Name: "u32", Datatype: tensor.Uint32, Shape: []int64{2}, Data: max8},
		{Name: "u64", Datatype: tensor.Uint64, Shape: []int64{1}, Data: max8},
		{Name: "b", Datatype: tensor.Bool, Shape: []int64{2}, Data: []byte{0, 1}},
		{Name: "s", Datatype: tensor.Bytes, Shape: []int64{2}, Data: []byte("\x00\x00\x00\x00\x06\x00\x00\x00\x00\"\\\né")},
		{Name: "none", Datatype: tensor.Int64, Shape: []int64{0, 3}, Data: []byte{}},
		{Name: "scalar", Datatype: tensor.Uint8, Shape: []int64{}, Data: []byte{9}},
	}}
	m, err := c.EncodeResponse(response, func(string) bool { return false })
	text, _ := encode(t, m, err)
	got, err := c.ReadResponse(strings.NewReader(text), int64(len(text)), -1, nil)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for i, want := range response.Outputs {
		if !bytes.Equal(got.Outputs[i].Data, want.Data) {
			t.Errorf("%s is %x, want %x", want.Name, got.Outputs[i].Data, want.Data)
		}
	}
	if got.Model != response.Model {
		t.Errorf("model name %q", got.Model)
	}
}

func TestWriteErrorsPass(t *testing.T) {
	m, err := NewCodec(1000).EncodeRequest(exampleRequest(true), true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	r, w := io.Pipe()
	r.Close()
	if n, err := m.WriteTo(w); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
}

// image is a request as large as the usual picture.
func image() *Request {
	shape := []int64{1, 3, 224, 224}
	return &Request{
		Inputs:        []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: shape, Data: make([]byte, 4*3*224*224)}},
		BinaryOutputs: true,
	}
}

func BenchmarkReadRequest600k(b *testing.B) {
	c := NewCodec(32 << 20)
	m, err := c.EncodeRequest(image(), true)
	if err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	if _, err := m.WriteTo(&text); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(m.Size())
	b.ReportAllocs()
	for b.Loop() {
		r, err := c.ReadRequest(bytes.NewReader(text.Bytes()), m.Size(), m.HeaderSize())
		if err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}

func BenchmarkReadRequestJSON64(b *testing.B) {
	c := NewCodec(32 << 20)
	text := `{"inputs":[{"name":"x","shape":[1,1,8,8],"datatype":"FP32","data":[` + strings.Repeat("13.5,", 63) + `0]}]}`
	b.ReportAllocs()
	for b.Loop() {
		r, err := c.ReadRequest(strings.NewReader(text), int64(len(text)), -1)
		if err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}

func BenchmarkEncodeRequest600k(b *testing.B) {
	c := NewCodec(32 << 20)
	r := image()
	b.ReportAllocs()
	for b.Loop() {
		m, err := c.EncodeRequest(r, true)
		if err != nil {
			b.Fatal(err)
		}
		m.Release()
	}
}

// TextRoom is what the elements take at most, whatever their bits are.
func TestTextRoom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := NewCodec(1 << 20)
	inJSON := func(string) bool { return false }
	for _, d := range []tensor.Datatype{
		tensor.Bool, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64,
		tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.FP32, tensor.FP64,
	} {
		for range 5000 {
			data := binary.LittleEndian.AppendUint64(nil, random.Uint64()>>random.IntN(64))
			switch v := -random.Float64() / float64(random.IntN(1e5)+1); { // the longest texts are those of small numbers
			case d == tensor.FP32:
				data = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v)))
			case d == tensor.FP64 && random.IntN(2) == 0:
				data = binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
			}
			r := &Response{Outputs: []tensor.Tensor{{Name: "x", Datatype: d, Shape: []int64{1}, Data: data[:d.Size()]}}}
			m, err := c.EncodeResponse(r, inJSON)
			if errors.Is(err, ErrNotText) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			_, text, _ := strings.Cut(string(m.Parts()[0]), `"data":[`)
			if text = strings.TrimSuffix(text, "]}]}"); int64(len(text)+1) > r.TextRoom(inJSON) {
				t.Errorf("%s has %d bytes, TextRoom is %d", text, len(text), r.TextRoom(inJSON))
			}
			m.Release()
		}
	}
	r := &Response{Outputs: []tensor.Tensor{{Name: "x", Datatype: tensor.Bytes, Shape: []int64{1}, Data: []byte("\x03\x00\x00\x00\x00\x01\x02")}}}
	if m, err := c.EncodeResponse(r, inJSON); err != nil || !strings.Contains(string(m.Parts()[0]), `["\u0000\u0001\u0002"]`) || r.TextRoom(inJSON) < 20 {
		t.Errorf("strings: %v, TextRoom is %d", err, r.TextRoom(inJSON))
	}
	if n := r.TextRoom(func(string) bool { return true }); n != 0 {
		t.Errorf("TextRoom of binary data is %d", n)
	}
}

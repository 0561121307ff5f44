package oip

import (
	"slices"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

func TestSharedMemoryInMessages(t *testing.T) {
	c := NewCodec(1 << 20)
	sent := &Request{
		ID: "7",
		Inputs: []tensor.Tensor{
			{Name: "x", Datatype: tensor.FP32, Shape: []int64{2, 2}},
			{Name: "n", Datatype: tensor.Uint8, Shape: []int64{2}, Data: []byte{1, 2}},
		},
		Places: []Place{{Region: "in", Offset: 64, Size: 16}, {}},
		Outputs: []Output{
			{Name: "y", Place: Place{Region: "out", Size: 4096}},
			{Name: "z", Binary: true},
		},
	}
	m, err := c.EncodeRequest(sent, true)
	if err != nil {
		t.Fatal(err)
	}
	text, data := encode(t, m, err)
	want := `{"id":"7","inputs":[` +
		`{"name":"x","datatype":"FP32","shape":[2,2],"parameters":{"shared_memory_region":"in","shared_memory_offset":64,"shared_memory_byte_size":16}},` +
		`{"name":"n","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}],"outputs":[` +
		`{"name":"y","parameters":{"shared_memory_region":"out","shared_memory_offset":0,"shared_memory_byte_size":4096}},` +
		`{"name":"z","parameters":{"binary_data":true}}]}`
	if text != want || data != "\x01\x02" {
		t.Errorf("written as %s and %q", text, data)
	}
	got, err := readBinary(text, data)
	if err != nil {
		t.Fatal(err)
	}
	if !tensorsEqual(got.Inputs, sent.Inputs) || !slices.Equal(got.Places, sent.Places) || got.Inputs[0].Data != nil {
		t.Errorf("read as %+v", got)
	}
	if len(got.Outputs) != 2 || got.Outputs[0].Place != sent.Outputs[0].Place || got.Outputs[1].Place.Shared() {
		t.Errorf("outputs are read as %+v", got.Outputs)
	}
}

// A message whose tensors are all elsewhere is JSON alone.
func TestSharedMemoryAlone(t *testing.T) {
	r := &Response{
		Model: "m", Version: "1",
		Outputs: []tensor.Tensor{{Name: "y", Datatype: tensor.FP32, Shape: []int64{4}}},
		Places:  []Place{{Region: "r", Offset: 8, Size: 16}},
	}
	c := NewCodec(1 << 20)
	m, err := c.EncodeResponse(r, func(string) bool { return true })
	if err != nil || m.HeaderSize() != -1 || m.ContentType() != ContentJSON {
		t.Fatalf("%v, a header of %d bytes, %s", err, m.HeaderSize(), m.ContentType())
	}
	text, _ := encode(t, m, err)
	got, err := c.ReadResponse(strings.NewReader(text), int64(len(text)), -1, []Output{{Name: "y", Into: make([]byte, 16)}})
	if err != nil || !slices.Equal(got.Places, r.Places) || got.Outputs[0].Data != nil {
		t.Errorf("read as %+v, %v", got, err)
	}
}

// What inputs have in shared memory counts like what they have in a message: it
// may have to be copied.
func TestSharedMemoryCounts(t *testing.T) {
	text := x(`"shape":[5000],"datatype":"UINT8","parameters":{"shared_memory_region":"r","shared_memory_byte_size":5000}`)
	if _, err := NewCodec(4096).ReadRequest(strings.NewReader(text), int64(len(text)), -1); err == nil || !strings.Contains(err.Error(), "more than 4096 bytes") {
		t.Errorf("error is %v", err)
	}
}

func TestCheckData(t *testing.T) {
	for _, tt := range []struct {
		tensor tensor.Tensor
		want   string
	}{
		{tensor.Tensor{Datatype: tensor.Bool, Shape: []int64{2}, Data: []byte{0, 1}}, ""},
		{tensor.Tensor{Datatype: tensor.Bool, Shape: []int64{2}, Data: []byte{0, 2}}, "a BOOL is 0 or 1"},
		{tensor.Tensor{Datatype: tensor.Bytes, Shape: []int64{1}, Data: []byte("\x01\x00\x00\x00a")}, ""},
		{tensor.Tensor{Datatype: tensor.Bytes, Shape: []int64{2}, Data: []byte("\x01\x00\x00\x00a")}, "it has 1 strings"},
		{tensor.Tensor{Datatype: tensor.Bytes, Shape: []int64{1}, Data: []byte("\xff\xff\xff\xffa")}, "only 1 follow"},
		{tensor.Tensor{Datatype: tensor.Bytes, Shape: []int64{-1}}, "negative"},
	} {
		err := CheckData(&tt.tensor)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.tensor, err, tt.want)
		}
	}
}

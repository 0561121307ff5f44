package oip

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

func seedMessages(f *testing.F) {
	for _, s := range []struct{ header, data string }{
		{`{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[-3e2,0.1]]}]}`, ""},
		{`{"id":"\ud83d\ude00","inputs":[{"name":"x","shape":[2],"datatype":"BYTES","data":["a","\u00e9\n"]}],"outputs":[{"name":"y"}]}`, ""},
		{`{"inputs":[{"name":"x","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}}],"parameters":{"binary_data_output":true}}`, "abcd"},
		{`{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}},{"name":"b","shape":[],"datatype":"BOOL","data":[true]}]}`, "\x02\x00\x00\x00ab"},
		{`{"model_name":"m","model_version":"1","outputs":[{"name":"y","shape":[1],"datatype":"INT8","parameters":{"binary_data_size":1}}]}`, "a"},
		{`{"model_name":"m","outputs":[{"name":"y","shape":[0,9],"datatype":"UINT64","data":[]}],"other":[{},null,1e5,"x"]}`, ""},
		{`{"inputs":[{"name":"x","shape":[9223372036854775807,9],"datatype":"FP64","data":[]}]}`, ""},
		{`{"inputs":[{"name":"x","shape":[4],"datatype":"UINT8","parameters":{"shared_memory_region":"r","shared_memory_offset":64,"shared_memory_byte_size":4}}],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r","shared_memory_byte_size":9,"binary_data":true}}]}`, ""},
		{`{"model_name":"m","outputs":[{"name":"y","shape":[4],"datatype":"UINT8","parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}]}`, ""},
		{"", ""},
	} {
		for _, known := range []bool{true, false} {
			f.Add([]byte(s.header), []byte(s.data), known)
		}
	}
}

const fuzzLimit = 1 << 16

// check holds what must be true of every message that was accepted.
func check(t *testing.T, header []byte, tensors []tensor.Tensor, places []Place) {
	if !json.Valid(header) {
		t.Errorf("accepted what is not JSON: %q", header)
	}
	names := map[string]bool{}
	total := 0
	for i, x := range tensors {
		if p := placeOf(places, i); p.Shared() {
			if x.Data != nil || p.Offset < 0 || p.Size < 0 || p.Offset+p.Size < 0 {
				t.Errorf("tensor %+v at %+v", x, p)
			}
			x.Data = make([]byte, p.Size) // what is there
		}
		total += len(x.Data)
		if x.Name == "" || names[x.Name] || x.Data == nil {
			t.Errorf("tensor %+v", x)
		}
		names[x.Name] = true
		if x.Datatype == tensor.Bytes {
			continue
		}
		if n, err := tensor.ByteSize(x.Datatype, x.Shape); err != nil || n != int64(len(x.Data)) {
			t.Errorf("tensor %s of %s %v has %d bytes, not %d (%v)", x.Name, x.Datatype, x.Shape, len(x.Data), n, err)
		}
	}
	if total > fuzzLimit {
		t.Errorf("the tensors take %d bytes, %d are allowed", total, fuzzLimit)
	}
}

// lengths of a message that is the header and the data.
func lengths(header, data []byte, known bool) (length, headerLength int64) {
	length, headerLength = -1, -1
	if known {
		length = int64(len(header) + len(data))
	}
	if len(data) > 0 {
		headerLength = int64(len(header))
	}
	return length, headerLength
}

func checkError(t *testing.T, err error) {
	if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func FuzzReadRequest(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, header, data []byte, known bool) {
		c := NewCodec(fuzzLimit)
		length, headerLength := lengths(header, data, known)
		r, err := c.ReadRequest(bytes.NewReader(append(header[:len(header):len(header)], data...)), length, headerLength)
		if err != nil {
			checkError(t, err)
			return
		}
		defer r.Release()
		check(t, header, r.Inputs, r.Places)
		m, err := c.EncodeRequest(r, true)
		text, rest := encode(t, m, err)
		again, err := NewCodec(4*fuzzLimit).ReadRequest(strings.NewReader(text+rest), -1, jsonLength(text, len(r.Inputs) > 0))
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if again.ID != r.ID || !tensorsEqual(again.Inputs, r.Inputs) || !reflect.DeepEqual(again.Outputs, r.Outputs) || !slices.Equal(again.Places, r.Places) {
			t.Errorf("%+v was written, %+v read", r, again)
		}
	})
}

func FuzzReadResponse(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, header, data []byte, known bool) {
		c := NewCodec(fuzzLimit)
		length, headerLength := lengths(header, data, known)
		wanted := []Output{{Name: "y", Into: make([]byte, 1)}}
		r, err := c.ReadResponse(bytes.NewReader(append(header[:len(header):len(header)], data...)), length, headerLength, wanted)
		if err != nil {
			checkError(t, err)
			return
		}
		defer r.Release()
		check(t, header, r.Outputs, r.Places)
		m, err := c.EncodeResponse(r, func(string) bool { return true })
		text, rest := encode(t, m, err)
		again, err := NewCodec(4*fuzzLimit).ReadResponse(strings.NewReader(text+rest), -1, jsonLength(text, len(r.Outputs) > 0), nil)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if again.ID != r.ID || again.Model != r.Model || again.Version != r.Version || !tensorsEqual(again.Outputs, r.Outputs) || !slices.Equal(again.Places, r.Places) {
			t.Errorf("%+v was written, %+v read", r, again)
		}
	})
}

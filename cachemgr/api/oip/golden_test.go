package oip

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// golden are examples of the messages that are plain JSON.
func golden() map[string]any {
	d := func(count, ns int64) Duration { return Duration{Count: count, Ns: ns} }
	return map[string]any{
		"error.json":           &ErrorBody{Error: `model "digits" has no version 3, it has 1 and 2`},
		"server_metadata.json": &ServerMetadata{Name: "faas-gpu", Version: "1.0.0", Extensions: []string{"binary_tensor_data", "model_repository", "statistics"}},
		"server_live.json":     &ServerLive{Live: true},
		"server_ready.json":    &ServerReady{Ready: true},
		"model_ready.json":     &ModelReady{Name: "digits", Ready: true},
		"model_metadata.json": &ModelMetadata{
			Name: "digits", Versions: []string{"1", "2"}, Platform: "onnxruntime_onnx",
			Inputs:  []TensorMetadata{{Name: "pixels", Datatype: tensor.FP32, Shape: []int64{-1, 1, 8, 8}}},
			Outputs: []TensorMetadata{{Name: "probabilities", Datatype: tensor.FP32, Shape: []int64{-1, 10}}},
		},
		"index_request.json": &IndexRequest{Ready: true},
		"index.json": &[]IndexEntry{
			{Name: "digits", Version: "1", State: IndexReady},
			{Name: "vgg16", Version: "1", State: IndexUnavailable, Reason: "model larger than the budget"},
		},
		"statistics.json": &Statistics{Models: []ModelStatistics{{
			Name: "digits", Version: "1", LastInference: 1893553445678, InferenceCount: 42, ExecutionCount: 42,
			Inference: InferenceStats{
				Success: d(42, 31_000_000), Fail: d(1, 900_000), Queue: d(43, 2_000_000),
				ComputeInput: d(42, 1000), ComputeInfer: d(42, 29_000_000), ComputeOutput: d(42, 1000),
			},
			Batches: []BatchStatistics{{BatchSize: 1, ComputeInput: d(42, 1000), ComputeInfer: d(42, 29_000_000), ComputeOutput: d(42, 1000)}},
			Memory:  []MemoryUsage{{Type: "CPU", ByteSize: 1 << 20}},
		}}},
	}
}

func TestGolden(t *testing.T) {
	for name, value := range golden() {
		t.Run(name, func(t *testing.T) {
			want := readGolden(t, name)
			got, err := json.MarshalIndent(value, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, '\n'); string(got) != want {
				t.Errorf("the wire format has changed, it is now\n%s", got)
			}
			dec := json.NewDecoder(strings.NewReader(want))
			dec.DisallowUnknownFields()
			back := reflect.New(reflect.TypeOf(value).Elem()).Interface()
			if err := dec.Decode(back); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, value) {
				t.Errorf("it is read as %+v", back)
			}
		})
	}
}

func readGolden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exampleRequest is what the requests in testdata say.
func exampleRequest(binary bool) *Request {
	return &Request{
		ID: "42",
		Inputs: []tensor.Tensor{
			{Name: "pixels", Datatype: tensor.FP32, Shape: []int64{1, 3}, Data: floats(0, 0.5, 16)},
			{Name: "mask", Datatype: tensor.Bool, Shape: []int64{2}, Data: []byte{1, 0}},
		},
		Outputs: []Output{{Name: "class", Binary: binary}, {Name: "probabilities", Binary: binary}},
	}
}

// exampleResponse is what the responses in testdata say.
func exampleResponse() *Response {
	return &Response{
		Model: "digits", Version: "1", ID: "42",
		Outputs: []tensor.Tensor{
			{Name: "class", Datatype: tensor.Int64, Shape: []int64{1}, Data: []byte{7, 0, 0, 0, 0, 0, 0, 0}},
			{Name: "probabilities", Datatype: tensor.FP32, Shape: []int64{1, 3}, Data: floats(0.25, 1e-7, 3e20)},
			{Name: "label", Datatype: tensor.Bytes, Shape: []int64{1}, Data: []byte("\x07\x00\x00\x00\"seven\"")},
		},
	}
}

func encode(t *testing.T, m *Message, err error) (header, data string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	var b bytes.Buffer
	if n, err := m.WriteTo(&b); err != nil || n != m.Size() || int64(b.Len()) != n {
		t.Fatalf("wrote %d bytes, Size says %d: %v", n, m.Size(), err)
	}
	n := m.HeaderSize()
	if n < 0 {
		if m.ContentType() != ContentJSON {
			t.Errorf("JSON alone is sent as %s", m.ContentType())
		}
		return b.String(), ""
	}
	if m.ContentType() != ContentBinary {
		t.Errorf("binary data is sent as %s", m.ContentType())
	}
	return b.String()[:n], b.String()[n:]
}

// The messages in testdata are read as the examples, and the examples are written
// as the messages, up to white space.
func TestGoldenMessages(t *testing.T) {
	c := NewCodec(1 << 20)
	compact := func(name string) string {
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(readGolden(t, name))); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, binary := range []bool{false, true} {
		suffix := map[bool]string{false: ".json", true: "_binary.json"}[binary]
		request, response := exampleRequest(binary), exampleResponse()

		m, err := c.EncodeRequest(request, binary)
		header, data := encode(t, m, err)
		if want := compact("request" + suffix); header != want {
			t.Errorf("the request is\n%s, want\n%s", header, want)
		}
		got, err := c.ReadRequest(strings.NewReader(header+data), int64(len(header+data)), jsonLength(header, binary))
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != request.ID || !tensorsEqual(got.Inputs, request.Inputs) || !reflect.DeepEqual(got.Outputs, request.Outputs) {
			t.Errorf("the request is read as %+v", got)
		}
		got.Release()

		m, err = c.EncodeResponse(response, func(string) bool { return binary })
		header, data = encode(t, m, err)
		if want := compact("response" + suffix); header != want {
			t.Errorf("the response is\n%s, want\n%s", header, want)
		}
		back, err := c.ReadResponse(strings.NewReader(header+data), -1, jsonLength(header, binary), nil)
		if err != nil {
			t.Fatal(err)
		}
		if back.Model != "digits" || back.Version != "1" || back.ID != "42" || !tensorsEqual(back.Outputs, response.Outputs) {
			t.Errorf("the response is read as %+v", back)
		}
		if back.Output("class") != &back.Outputs[0] || back.Output("none") != nil {
			t.Error("outputs are not found by their names")
		}
		back.Release()
	}
}

func jsonLength(header string, binary bool) int64 {
	if !binary {
		return -1
	}
	return int64(len(header))
}

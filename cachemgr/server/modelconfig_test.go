package server

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestModelConfig(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{})
	for _, path := range []string{"/v2/models/twice/config", "/v2/models/twice/versions/1/config"} {
		resp, body := send(t, "GET", h.URL+path, "")
		var got oip.ModelConfig
		if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s %v", path, resp.StatusCode, body, err)
		}
		want := oip.ModelConfig{
			Name: "twice", Platform: "fake_onnx", Backend: "fake", ModelFile: "model.onnx",
			Input:  []oip.ConfigTensor{{Name: "x", DataType: "TYPE_FP32", Dims: []int64{4}}},
			Output: []oip.ConfigTensor{{Name: "y", DataType: "TYPE_FP32", Dims: []int64{4}}},
		}
		want.VersionPolicy.Latest.NumVersions = 1
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if resp, body := send(t, "GET", h.URL+"/v2/models/other/config", ""); resp.StatusCode != 404 {
		t.Errorf("unknown: %d %s", resp.StatusCode, body)
	}
}

func TestBatchInConfig(t *testing.T) {
	batched := []tensor.Spec{{Name: "x", Datatype: tensor.Bytes, Shape: []int64{-1, 3}}}
	fixed := []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{1, 3}}}
	for _, tc := range []struct {
		in, out      []tensor.Spec
		max, offered int
		want         int
	}{
		{batched, batched, 8, 0, 8},
		{batched, batched, 8, 4, 4},
		{batched, batched, 8, 16, 8},
		{batched, batched, -1, 4, 4},
		{batched, batched, -1, 0, 0},
		{batched, batched, 0, 4, 0},
		{batched, fixed, 8, 4, 0},
		{batched, []tensor.Spec{{Name: "scalar"}}, 8, 4, 0},
	} {
		if got := maxBatch(engine.Spec{Inputs: tc.in, Outputs: tc.out, MaxBatch: tc.max}, tc.offered); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
	if got := configTensors(batched, true)[0]; got.DataType != "TYPE_STRING" || !reflect.DeepEqual(got.Dims, []int64{3}) {
		t.Errorf("got %+v", got)
	}
	if got := configTensors([]tensor.Spec{{Name: "scalar"}}, false)[0]; got.Dims == nil {
		t.Error("a scalar has null for dimensions")
	}
}

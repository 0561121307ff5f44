package server

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

const inferPath = "/v2/models/twice/infer"

const four = `{"id":"7","inputs":[{"name":"x","shape":[4],"datatype":"FP32","data":[1,2,3,4]}]}`

func TestInferInJSON(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{})
	resp, body := send(t, "POST", h.URL+inferPath, four)
	want := `{"model_name":"twice","model_version":"1","id":"7","outputs":[{"name":"y","datatype":"FP32","shape":[4],"data":[2,4,6,8]}]}`
	if resp.StatusCode != 200 || body != want {
		t.Fatalf("answer is %d %s", resp.StatusCode, body)
	}
	for name, want := range map[string]string{
		api.HeaderCache: "hit", api.HeaderDevice: "cpu", api.HeaderEngine: "fake", api.HeaderEpoch: s.Epoch(),
		api.HeaderTiming: "queue;dur=0.002, swap;dur=0.000, compute;dur=0.030",
		"Content-Type":   "application/json", "Content-Length": strconv.Itoa(len(body)), oip.HeaderLength: "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestInferBinaryWithTheClient(t *testing.T) {
	m := newFakeManager()
	_, h := newServer(t, m, Limits{})
	c, err := api.NewClient(api.ClientConfig{Address: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	into := make([]byte, 16)
	for _, version := range []string{"", "1"} {
		resp, info, err := c.Infer(context.Background(), api.Call{Model: "twice", Version: version}, &oip.Request{
			Inputs:  []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{4}, Data: floatBytes(1, 2, 3, 4)}},
			Outputs: []oip.Output{{Name: "y", Into: into}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if y := resp.Output("y"); y == nil || !bytes.Equal(y.Data, floatBytes(2, 4, 6, 8)) || &y.Data[0] != &into[0] {
			t.Errorf("output is %v", y)
		}
		if info.Cache != api.CacheHit || info.Compute != 30*time.Microsecond {
			t.Errorf("info is %+v", info)
		}
		resp.Release()
	}
	if m.specs != 1 {
		t.Errorf("the manager was asked %d times what the model takes", m.specs)
	}
}

// What a request says goes before what the model says.
func TestTermsOfARequest(t *testing.T) {
	m := newFakeManager()
	var got cachemgr.Request
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		got = r
		res, err := double(ctx, r)
		res.Outcome = api.CacheFallback
		return res, err
	}
	s, h := newServer(t, m, Limits{})
	s.catalog.entriesOf(api.FunctionRef{})[0].terms = cachemgr.Terms{Precisions: []string{"fp32"}, MaxBatch: 4, Fallback: "wait"}
	for header, want := range map[string]string{"": "wait", "cpu": "cpu", "refuse": "refuse"} {
		resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderFallback, header)
		if resp.StatusCode != 200 || resp.Header.Get(api.HeaderCache) != api.CacheFallback {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if got.Terms.Fallback != want || got.Terms.MaxBatch != 4 || len(got.Terms.Precisions) != 1 {
			t.Errorf("%q became %+v", header, got.Terms)
		}
	}
	if resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderFallback, "pray"); resp.StatusCode != 400 || !strings.Contains(body, "cpu, wait, refuse") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if n := s.catalog.entriesOf(api.FunctionRef{})[0].stats.fallbacks.Load(); n != 3 {
		t.Errorf("%d fallbacks are counted", n)
	}
}

func TestInferOfDynamicOutput(t *testing.T) {
	m := newFakeManager()
	m.spec.Inputs = []tensor.Spec{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}}
	m.spec.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1, 2}}}
	m.spec.MaxBatch = 2
	s, h := newServer(t, m, Limits{Output: 16})
	resp, body := send(t, "POST", h.URL+inferPath, `{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}`)
	if resp.StatusCode != 200 || !strings.Contains(body, `"shape":[2,2],"data":[2,4,6,8]`) {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
	if n := s.catalog.entriesOf(api.FunctionRef{})[0].stats.rows.Load(); n != 2 {
		t.Errorf("a batch of 2 counts as %d inferences", n)
	}
	m.spec.MaxBatch = 8
	s.catalog.entriesOf(api.FunctionRef{})[0].file.spec.Store(nil)
	resp, body = send(t, "POST", h.URL+inferPath, `{"inputs":[{"name":"x","shape":[3,2],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`)
	if resp.StatusCode != 500 || !strings.Contains(body, "outputs too large: together they may have 16 bytes") {
		t.Errorf("too much output: %d %s", resp.StatusCode, body)
	}
}

func TestModelOfWhichNothingIsKnown(t *testing.T) {
	m := newFakeManager()
	m.spec = engine.Spec{}
	_, h := newServer(t, m, Limits{})
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 500 || !strings.Contains(body, "cannot be known") {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
	m.mu.Lock()
	m.spec = doubling
	m.mu.Unlock()
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 200 {
		t.Errorf("once it is known: %d %s", resp.StatusCode, body)
	}
}

func TestInferRefusesBadInput(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{Body: 1000})
	input := func(name, datatype, shape, data string) string {
		return fmt.Sprintf(`{"inputs":[{"name":%q,"shape":%s,"datatype":%q,"data":%s}]}`, name, shape, datatype, data)
	}
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		status     int
		says       string
	}{
		"no JSON":          {body: "hello", status: 400, says: "malformed"},
		"empty":            {body: "", status: 400, says: "malformed"},
		"no inputs":        {body: `{"inputs":[]}`, status: 400, says: `input "x" is missing: the model takes x FP32 [4]`},
		"unknown input":    {body: input("z", "FP32", "[4]", "[1,2,3,4]"), status: 400, says: `unknown input "z": the model takes x FP32 [4]`},
		"datatype":         {body: input("x", "INT32", "[4]", "[1,2,3,4]"), status: 400, says: `input "x" is INT32: the model takes FP32`},
		"unknown datatype": {body: input("x", "FP31", "[4]", "[1,2,3,4]"), status: 400, says: "none of BOOL"},
		"shape":            {body: input("x", "FP32", "[2,2]", "[1,2,3,4]"), status: 400, says: `input "x" has shape [2,2]: the model takes [4]`},
		"length":           {body: input("x", "FP32", "[4]", "[1,2,3]"), status: 400, says: `"x"`},
		"strings":          {body: input("x", "BYTES", "[4]", `["a","b","c","d"]`), status: 400, says: "BYTES"},
		"unknown output":   {body: strings.Replace(four, `"id":"7"`, `"outputs":[{"name":"q"}]`, 1), status: 400, says: `unknown output "q": the model gives y FP32 [4]`},
		"too large":        {body: input("x", "FP32", "[4]", "["+strings.Repeat("1,", 600)+"1]"), status: 413, says: "at most 1000"},
		"unknown model":    {path: "/v2/models/thrice/infer", body: four, status: 404, says: `unknown model "thrice"`},
		"unknown version":  {path: "/v2/models/twice/versions/2/infer", body: four, status: 404, says: `version "2"`},
		"header length":    {body: four, headers: []string{oip.HeaderLength, "-5"}, status: 400, says: oip.HeaderLength},
		"header too long":  {body: four, headers: []string{oip.HeaderLength, "999"}, status: 400, says: "999"},
		"compressed":       {body: four, headers: []string{"Content-Encoding", "gzip"}, status: 400, says: "gzip"},
		"deadline":         {body: four, headers: []string{api.HeaderDeadline, "soon"}, status: 400, says: "soon"},
		"deadline passed":  {body: four, headers: []string{api.HeaderDeadline, "-1ms"}, status: 504, says: "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			path := inferPath
			if c.path != "" {
				path = c.path
			}
			resp, body := send(t, "POST", h.URL+path, c.body, c.headers...)
			if resp.StatusCode != c.status || !strings.Contains(body, strings.ReplaceAll(c.says, `"`, `\"`)) || !strings.HasPrefix(body, `{"error":"`) {
				t.Errorf("answer is %d %s, want %d with %q", resp.StatusCode, body, c.status, c.says)
			}
		})
	}
	// None of that changed anything for the next request.
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}

func TestHintAndArrivalReachTheManager(t *testing.T) {
	m := newFakeManager()
	before := time.Now()
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		if r.Device != "gpu-1" || r.Arrived.Before(before) || r.Digest != digestOf(content("twice", "1")) {
			t.Errorf("request is %+v", r)
		}
		return double(ctx, r)
	}
	_, h := newServer(t, m, Limits{})
	if resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderDevice, "gpu-1"); resp.StatusCode != 200 {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
}

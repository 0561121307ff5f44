package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// infer is the path of a model below a function.
func infer(model string) string { return "/v2/models/" + model + "/infer" }

// input64 is a request with one FP32 tensor "pixels" of 64 numbers, after edits.
func input64(edits ...string) string {
	text := `{"inputs":[{"name":"pixels","datatype":"FP32","shape":[1,1,8,8],"data":[` +
		strings.Repeat("0,", 63) + `0]}]}`
	return strings.NewReplacer(edits...).Replace(text)
}

func TestBadInput(t *testing.T) {
	l := start(t, lab.Options{})
	deployDigits(t, l)
	deployRaw(t, l, "other", generate(t, modelgen.Spec{Family: modelgen.Scale}), raw("input", "output", "1,4"))
	const mib = 1 << 20
	cases := []struct {
		name, function, path string
		header               http.Header
		body                 string
		status               int
		says                 string
	}{
		{"unknown function", "nobody", "", nil, "x", 404, "nobody"},
		{"neither PNG nor JSON", "digits", "", nil, "hello", 400, "PNG"},
		{"truncated PNG", "digits", "", nil, "\x89PNG\r\n\x1a\n\x00\x00", 400, ""},
		{"63 pixels", "digits", "", nil, "[" + strings.Repeat("1,", 62) + "1]", 400, "64"},
		{"unknown model", "digits", infer("nothing"), nil, input64(), 404, "nothing"},
		{"another function's model", "digits", infer("m"), nil, input64(), 404, "m"},
		{"unknown version", "digits", "/v2/models/digits/versions/9/infer", nil, input64(), 404, "9"},
		{"model name that climbs", "digits", "/v2/models/..%2f..%2fm/infer", nil, input64(), 400, ".."},
		{"no JSON", "digits", infer("digits"), nil, "{", 400, ""},
		{"wrong shape", "digits", infer("digits"), nil, input64("[1,1,8,8]", "[1,1,4,16]"), 400, "[1,1,8,8]"},
		{"negative shape", "digits", infer("digits"), nil, input64("[1,1,8,8]", "[1,-1,8,8]"), 400, "shape"},
		{"overflowing shape", "digits", infer("digits"), nil, input64("[1,1,8,8]", "[4611686018427387904,4,1,1]"), 400, ""},
		{"wrong datatype", "digits", infer("digits"), nil, input64("FP32", "INT64"), 400, "FP32"},
		{"no datatype of ours", "digits", infer("digits"), nil, input64("FP32", "FLOAT"), 400, "FLOAT"},
		{"wrong name", "digits", infer("digits"), nil, input64("pixels", "picture"), 400, "pixels"},
		{"too little data", "digits", infer("digits"), nil, input64("0,0,0,", ""), 400, "64"},
		{"no number", "digits", infer("digits"), nil, input64("[0,", `["a",`), 400, ""},
		{"unknown output", "digits", infer("digits"), nil,
			strings.TrimSuffix(input64(), "}") + `,"outputs":[{"name":"nope"}]}`, 400, "nope"},
		{"binary size that is not there", "digits", infer("digits"), http.Header{"Inference-Header-Content-Length": {"500"}}, "{}", 400, ""},
		{"node routes", "digits", "/v2/faas-gpu/status", nil, "", 404, ""},
		{"body over the limit", "digits", "", nil, strings.Repeat("x", 32*mib+1), 413, "32"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, body := post(t, l.URL+"/function/"+c.function+"."+lab.Namespace+c.path, c.header, strings.NewReader(c.body))
			if status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("got %d %q, want %d with %q", status, body, c.status, c.says)
			}
			wantDigit(t, l, "digits") // nothing changed for others
		})
	}
	a := invoke(t, l, "other", "", floats(1, 2, 3, 4))
	if a.Status != 200 || len(a.Body) != 16 {
		t.Errorf("the other function answered %d: %s", a.Status, a.Body)
	}
}

// post sends a request and returns the answer.
func post(t *testing.T, url string, header http.Header, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestModelsThatMisbehave(t *testing.T) {
	l := start(t, lab.Options{
		Cachemgr: []string{"run_timeout=2s", "memory_limit=512Mi"},
		Provider: []string{"queue_timeout=3s"},
	})
	deployDigits(t, l)
	deployRaw(t, l, "endless", generate(t, modelgen.Spec{Family: modelgen.Endless}), raw("input", "output", "1"))
	deployRaw(t, l, "huge", generate(t, modelgen.Spec{Family: modelgen.Huge}), nil)
	before := l.Cachemgr.PID()

	t.Run("a model that never ends", func(t *testing.T) {
		a := invoke(t, l, "endless", "", floats(1))
		if a.Status != http.StatusGatewayTimeout {
			t.Errorf("answered %d: %s", a.Status, a.Body)
		}
		wantDigit(t, l, "digits")
	})
	t.Run("a model that asks for gigabytes", func(t *testing.T) {
		n := strconv.Itoa(1 << 30) // floats, 16 times
		a := invoke(t, l, "huge", infer("m"), []byte(`{"inputs":[{"name":"n","datatype":"INT64","shape":[1],"data":[`+n+`]}]}`))
		if a.Status < 400 || len(a.Body) == 0 {
			t.Errorf("answered %d: %s", a.Status, a.Body)
		}
		t.Logf("it got %d: %s", a.Status, a.Body)
		wantDigit(t, l, "digits")
	})
	t.Run("corrupt and truncated files", func(t *testing.T) {
		model := generate(t, modelgen.Spec{Family: modelgen.SqueezeNet, Width: 0.25, Resolution: 64})
		for name, file := range map[string][]byte{
			"truncated": model[:len(model)/2], "corrupt": bytes.Repeat([]byte{0xff}, 1000),
		} {
			err := l.Build(t.Context(), name, "go-trt", "stack/bench/function", map[string][]byte{"m/1": file})
			if err == nil || !strings.Contains(err.Error(), "models/m/1/model.onnx: it is no ONNX file") {
				t.Errorf("%s: the build says %v", name, err)
			}
			// The file may also become bad after the build.
			env := raw("input", "output", "1,3,64,64")
			env["models_path"] = t.TempDir()
			path := filepath.Join(env["models_path"], "m", "1", "model.onnx")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, file, 0o644); err != nil {
				t.Fatal(err)
			}
			err = l.System(t.Context(), http.MethodPost, "/system/functions", types.FunctionDeployment{
				Service: name, Image: "endless", Namespace: lab.Namespace, EnvVars: env,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			a := invoke(t, l, name, "", make([]byte, 3*64*64*4))
			if a.Status < 500 || len(a.Body) == 0 {
				t.Errorf("%s: answered %d: %s", name, a.Status, a.Body)
			}
			t.Logf("%s: it got %d: %s", name, a.Status, a.Body)
			if why := problem(t, l, name); why == "" {
				t.Errorf("%s: nobody is told why it is not ready", name)
			} else {
				t.Logf("%s: the operator reads: %s", name, why)
			}
			wantDigit(t, l, "digits")
		}
	})
	if l.Cachemgr.PID() != before {
		t.Error("the cache manager was started again")
	}
	if err := l.Cachemgr.Alive(); err != nil {
		t.Error(err)
	}
}

// problem is what /system/gpu says is wrong with a function.
func problem(t *testing.T, l *lab.Lab, name string) string {
	t.Helper()
	var report struct {
		Functions []struct {
			Name    string `json:"name"`
			Problem string `json:"problem"`
		} `json:"functions"`
	}
	var raw json.RawMessage
	if err := l.System(t.Context(), http.MethodGet, "/system/gpu", nil, &raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Functions {
		if f.Name == name {
			return f.Problem
		}
	}
	t.Fatalf("/system/gpu has no %s: %s", name, raw)
	return ""
}

package provider

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func TestAPI(t *testing.T) {
	type step struct {
		method, path, body string
		status             int
		want               string // in the answer
	}
	const deploy = `{"service":"digits","image":"digits","network":"n","labels":{"a":"b"}}`
	cases := map[string][]step{
		"as faas-cli deploys": {
			{"PUT", "/system/functions", deploy, 404, "not found"},
			{"POST", "/system/functions", deploy, 202, ""},
			{"PUT", "/system/functions", deploy, 202, ""},
			{"POST", "/system/functions", deploy, 409, "already exists"},
			{"GET", "/system/function/digits?usage=1", "", 200, `"name":"digits","image":"digits","namespace":"openfaas-fn"`},
			{"GET", "/system/functions", "", 200, `"faas_function":"digits"`},
			{"GET", "/system/functions?namespace=lab", "", 200, "[]"},
			{"DELETE", "/system/functions", `{"functionName":"digits"}`, 202, ""},
			{"DELETE", "/system/functions", `{"functionName":"digits"}`, 404, "not found"},
			{"GET", "/system/function/digits", "", 404, "not found"},
			{"GET", "/system/functions", "", 200, "[]"},
		},
		"namespace in the body or in the query": {
			{"POST", "/system/functions", `{"service":"f","image":"i","namespace":"lab"}`, 202, ""},
			{"POST", "/system/functions?namespace=lab", `{"service":"g","image":"i"}`, 202, ""},
			{"GET", "/system/function/f?namespace=lab", "", 200, `"namespace":"lab"`},
			{"GET", "/system/function/f", "", 404, ""},
			{"POST", "/system/scale-function/f?namespace=lab", `{"serviceName":"f","replicas":0}`, 202, ""},
			{"POST", "/system/scale-function/g", `{"serviceName":"g","replicas":2,"namespace":"lab"}`, 202, ""},
			{"GET", "/system/function/g?namespace=lab", "", 200, `"replicas":2`},
			{"DELETE", "/system/functions?namespace=lab", `{"functionName":"f"}`, 202, ""},
			{"DELETE", "/system/functions", `{"functionName":"g","namespace":"lab"}`, 202, ""},
		},
		"deployments that are refused": {
			{"POST", "/system/functions", `{`, 400, "JSON"},
			{"POST", "/system/functions", `{"service":"Bad Name","image":"i"}`, 400, "service"},
			{"POST", "/system/functions", `{"service":"f"}`, 400, "image"},
			{"POST", "/system/functions", `{"service":"f","image":"missing"}`, 400, "cannot be run"},
			{"POST", "/system/functions", `{"service":"f","image":"i","labels":{"com.openfaas.scale.factor":"0"}}`, 400, "com.openfaas.scale.factor"},
			{"POST", "/system/functions", `"` + strings.Repeat("x", 1<<20) + `"`, 413, "1048576"},
		},
		"bad requests": {
			{"DELETE", "/system/functions", `{}`, 400, "no function is named"},
			{"DELETE", "/system/functions", ``, 400, "JSON"},
			{"POST", "/system/scale-function/f", `{"serviceName":"g","replicas":1}`, 400, "names the function"},
			{"POST", "/system/scale-function/f", `{"replicas":-1}`, 400, "JSON"},
			{"POST", "/system/scale-function/f", `{"replicas":100000}`, 400, "1000"},
			{"POST", "/system/scale-function/f", `{"replicas":1}`, 404, "not found"},
		},
		"secrets": {
			{"GET", "/system/secrets", "", 200, "[]"},
			{"PUT", "/system/secrets", `{"name":"key","value":"x"}`, 404, "not found"},
			{"POST", "/system/secrets", `{"name":"key","value":"x","rawValue":"AAE="}`, 202, ""},
			{"POST", "/system/secrets", `{"name":"key","value":"x"}`, 409, "already exists"},
			{"GET", "/system/secrets?namespace=openfaas-fn", "", 200, `[{"name":"key","namespace":"openfaas-fn"}]`},
			{"PUT", "/system/secrets", `{"name":"key","value":"y"}`, 202, ""},
			{"DELETE", "/system/secrets", `{"name":"key"}`, 202, ""},
			{"DELETE", "/system/secrets", `{"name":"key"}`, 404, "not found"},
			{"POST", "/system/secrets", `{"name":"","value":"x"}`, 400, "name"},
			{"POST", "/system/secrets", `{"name":"../x","value":"x"}`, 400, "name"},
			{"POST", "/system/secrets", `{"name":"a..b","value":"x"}`, 400, "name"},
			{"POST", "/system/secrets", `{"name":"faas-gpu-token","value":"x"}`, 400, "reserved"},
			{"POST", "/system/secrets", `{"name":"a","namespace":"../x","value":"x"}`, 400, "namespace"},
		},
		"namespaces": {
			{"GET", "/system/namespaces", "", 200, `["openfaas-fn","lab"]`},
			{"GET", "/system/namespace/lab", "", 200, `{"name":"lab","labels":{"openfaas":"1"}}`},
			{"GET", "/system/namespace/x", "", 404, "not found"},
			{"POST", "/system/namespace/", `{"name":"x","labels":{"openfaas":"1","a":"b"},"annotations":{"c":"d"}}`, 201, ""},
			{"POST", "/system/namespace/x", `{"name":"x","labels":{"openfaas":"1"}}`, 409, "already exists"},
			{"GET", "/system/namespace/x", "", 200, `{"name":"x","annotations":{"c":"d"},"labels":{"a":"b","openfaas":"1"}}`},
			{"GET", "/system/namespaces", "", 200, `["openfaas-fn","lab","x"]`},
			{"POST", "/system/functions", `{"service":"f","image":"i","namespace":"x"}`, 202, ""},
			{"DELETE", "/system/namespace/x", `{"name":"x","labels":{"openfaas":"1"}}`, 409, "in use"},
			{"DELETE", "/system/functions", `{"functionName":"f","namespace":"x"}`, 202, ""},
			{"PUT", "/system/namespace/x", `{"name":"x","labels":{"openfaas":"1"}}`, 202, ""},
			{"GET", "/system/namespace/x", "", 200, `{"name":"x","labels":{"openfaas":"1"}}`},
			{"DELETE", "/system/namespace/x", "", 202, ""},
			{"DELETE", "/system/namespace/x", "", 404, "not found"},
			{"PUT", "/system/namespace/x", `{"name":"x","labels":{"openfaas":"1"}}`, 404, "not found"},
			{"POST", "/system/namespace/", `{"name":"y"}`, 400, "openfaas=1"},
			{"POST", "/system/namespace/y", `{"name":"z","labels":{"openfaas":"1"}}`, 400, "the path"},
			{"POST", "/system/namespace/", `{"name":"../y","labels":{"openfaas":"1"}}`, 400, "not a name"},
			{"POST", "/system/namespace/", `{`, 400, "JSON"},
			{"DELETE", "/system/namespace/", "", 400, "not a name"},
		},
		"the rest": {
			{"GET", "/system/info", "", 200, `{"provider":"faas-gpu","version":{"commit_message":"built from a working tree","sha":"unknown","release":"dev"},"orchestration":"fake"}`},
			{"GET", "/healthz", "", 200, ""},
			{"POST", "/async-function/digits", "", 404, "NATS"},
			{"GET", "/metrics", "", 200, "faas_gpu_queue_requests"},
			{"PATCH", "/system/functions", "", 405, "does not take PATCH"},
			{"GET", "/nothing", "", 404, "/function/NAME"},
		},
		"gpu": {
			{"POST", "/system/functions", deploy, 202, ""},
			{"GET", "/system/gpu", "", 200, `"functions":[{"name":"digits","namespace":"openfaas-fn","replicas":1`},
			{"GET", "/system/gpu?format=table", "", 200, "digits.openfaas-fn"},
			{"GET", "/system/gpu/explain?function=digits", "", 200, `"policy":"least-in-flight"`},
			{"GET", "/system/gpu/explain?function=other", "", 404, "not found"},
			{"GET", "/system/gpu/explain", "", 400, "no function is named"},
		},
		"the gateway's question": {
			{"POST", "/system/functions", deploy, 202, ""},
			{"GET", "/api/v1/query?query=sum(gateway_function_invocation_total%7Bfunction_name%3D~%22.*.openfaas-fn%22%7D)%20by%20(function_name)", "", 200,
				`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"function_name":"digits.openfaas-fn"},"value":[`},
			{"GET", "/api/v1/query?query=sum(gateway_function_invocation_total%7Bfunction_name%3D~%22.*.lab%22%7D)%20by%20(function_name)", "", 200, `"result":[]`},
			{"GET", "/api/v1/query?query=up", "", 400, `"status":"error"`},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			b := start(t, newFakeRuntime())
			for _, s := range steps {
				resp, body := b.ask(t, b.request(t, s.method, s.path, strings.NewReader(s.body)))
				if resp.StatusCode != s.status || !strings.Contains(body, s.want) {
					t.Errorf("%s %s: got %d %q, want %d and %q", s.method, s.path, resp.StatusCode, body, s.status, s.want)
				}
			}
		})
	}
}

func TestSecretValueIsTheRawOne(t *testing.T) {
	b := start(t, newFakeRuntime())
	b.ask(t, b.request(t, "POST", "/system/secrets", strings.NewReader(`{"name":"raw","value":"x","rawValue":"AAE="}`)))
	b.ask(t, b.request(t, "POST", "/system/secrets", strings.NewReader(`{"name":"text","value":"x"}`)))
	if raw, text := b.rt.secrets["raw"], b.rt.secrets["text"]; string(raw) != "\x00\x01" || string(text) != "x" {
		t.Errorf("kept %q and %q", raw, text)
	}
}

// TestEveryRouteNeedsCredentials walks over all routes: each refuses a request
// without credentials, or is known to be open.
func TestEveryRouteNeedsCredentials(t *testing.T) {
	b := start(t, newFakeRuntime(), withCredentials)
	for _, route := range b.table() {
		open := slices.Contains(public, route.path)
		for _, method := range route.methods {
			path := strings.ReplaceAll(route.path, namePattern, "x")
			r := b.request(t, method, path, nil)
			resp, _ := b.ask(t, r)
			if refused := resp.StatusCode == http.StatusUnauthorized; refused == open {
				t.Errorf("%s %s without credentials: got %d", method, path, resp.StatusCode)
			}
			if strings.HasPrefix(path, "/system") && resp.Header.Get("WWW-Authenticate") != `Basic realm="Restricted"` {
				t.Errorf("%s %s: %v", method, path, resp.Header)
			}
			r.SetBasicAuth("admin", "wrong")
			if resp, _ := b.ask(t, r); !open && resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s with a wrong password: got %d", method, path, resp.StatusCode)
			}
			if route.path == "/system/logs" {
				continue // would follow
			}
			r.SetBasicAuth("admin", "secret")
			if resp, _ := b.ask(t, r); resp.StatusCode == http.StatusUnauthorized {
				t.Errorf("%s %s with credentials: refused", method, path)
			}
		}
	}
	if resp, _ := b.ask(t, b.request(t, "GET", "/function/x", nil)); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an invocation needs credentials: %d", resp.StatusCode)
	}
}

func TestHandlersAreComplete(t *testing.T) {
	h := start(t, newFakeRuntime()).Handlers()
	for name, f := range map[string]http.HandlerFunc{
		"ListNamespaces": h.ListNamespaces, "MutateNamespace": h.MutateNamespace, "FunctionProxy": h.FunctionProxy,
		"FunctionLister": h.FunctionLister, "DeployFunction": h.DeployFunction, "UpdateFunction": h.UpdateFunction,
		"DeleteFunction": h.DeleteFunction, "FunctionStatus": h.FunctionStatus, "ScaleFunction": h.ScaleFunction,
		"Secrets": h.Secrets, "Logs": h.Logs, "Health": h.Health, "Info": h.Info,
	} {
		if f == nil {
			t.Errorf("%s is nil", name)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an empty Config was taken")
	}
}

func TestLogs(t *testing.T) {
	rt := newFakeRuntime()
	b := start(t, rt)
	b.deployed(t, nil, 1)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rt.lines = []logs.Message{{Name: "digits", Namespace: "openfaas-fn", Instance: "r0", Timestamp: at, Text: "hello"}}
	const line = `{"name":"digits","namespace":"openfaas-fn","instance":"r0","timestamp":"2026-01-02T03:04:05Z","text":"hello"}` + "\n"

	resp, body := b.ask(t, b.request(t, "GET", "/system/logs?name=digits&tail=-1&follow=false", nil))
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" || body != line {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	resp, err := b.client.Do(b.request(t, "GET", "/system/logs?name=digits&follow=1", nil))
	if err != nil {
		t.Fatal(err)
	}
	followed, err := bufio.NewReader(resp.Body).ReadString('\n') // it comes although there is no end
	resp.Body.Close()
	if err != nil || followed != line {
		t.Errorf("followed %q, %v", followed, err)
	}
	for query, want := range map[string]int{
		"": 422, "?name=digits&tail=x": 422, "?name=digits&since=yesterday": 422, "?name=digits&follow=perhaps": 422,
		"?name=other": 404, "?name=digits&namespace=lab": 404, "?name=digits&since=2026-01-01T00:00:00Z": 200,
	} {
		if resp, body := b.ask(t, b.request(t, "GET", "/system/logs"+query, nil)); resp.StatusCode != want {
			t.Errorf("%s: got %d %q", query, resp.StatusCode, body)
		}
	}
	rt.logErr = errors.New("disk gone")
	if resp, body := b.ask(t, b.request(t, "GET", "/system/logs?name=digits", nil)); resp.StatusCode != 500 || !strings.Contains(body, "disk gone") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	resp, err = b.client.Do(b.request(t, "GET", "/system/logs?name=digits&follow=1", nil))
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("logs that broke off look complete")
	}
}

func TestStatusOfManyFunctionsIsFast(t *testing.T) {
	b := start(t, newFakeRuntime())
	for _, name := range []string{"a", "b", "c"} {
		b.deployed(t, func(d *types.FunctionDeployment) { d.Service = name }, 1)
	}
	_, body := b.ask(t, b.request(t, "GET", "/system/functions", nil))
	var list []types.FunctionStatus
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 3 || list[0].Name != "a" || list[2].Name != "c" {
		t.Errorf("got %s, %v", body, err)
	}
}

func FuzzTarget(f *testing.F) {
	f.Add("/function/digits.openfaas-fn/a%2Fb?x=1")
	f.Add("/function/..")
	f.Add("/function/a.b.c//")
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil || !strings.HasPrefix(r.URL.Path, prefixFunction) {
			return
		}
		got := parseTarget(r.URL)
		if !strings.HasPrefix(got.path, "/") || strings.ContainsAny(got.path+got.query, " \r\n") || strings.Contains(got.id.Name, "/") ||
			got.id == (runtime.ID{}) && got.query == "" && got.path == "" {
			t.Fatalf("%q is %+v", path, got)
		}
	})
}

package server

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/cachemgr/store"
)

// installation is a server that wants tokens, and its provider's key.
type installation struct {
	*Server
	url    string
	signer *token.Signer
}

func newInstallation(t *testing.T, m *fakeManager, st *store.Store) installation {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, h := serveFor(t, Config{Manager: m, Store: st, Auth: Tokens{token.NewVerifier(public, time.Now)}})
	return installation{s, h.URL, token.NewSigner(private, time.Now)}
}

func (i installation) function(t *testing.T, ref api.FunctionRef, life time.Duration) string {
	t.Helper()
	raw, _, err := i.signer.Function(ref, life)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + raw
}

func (i installation) provider(t *testing.T) string {
	t.Helper()
	raw, _, err := i.signer.Provider(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + raw
}

var alice = api.FunctionRef{Namespace: "ns", Name: "alice", UID: "1"}

// fill puts something into the places of a route's path.
var fill = strings.NewReplacer("{model}", "m", "{version}", "1", "{digest}", "sha256:0")

func TestEveryRouteChecksWhoCalls(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	addModel(t, i.Server, api.FunctionRef{Namespace: "ns", Name: "bob", UID: "1"}, "m", "1")
	stranger := newInstallation(t, newFakeManager(), openStore(t, t.TempDir())) // another installation's key
	walked := 0
	for _, rt := range i.table() {
		url := i.url + fill.Replace(rt.path)
		if rt.access == open {
			if resp, body := send(t, rt.method, url, ""); resp.StatusCode != 200 {
				t.Errorf("%s %s without a token: %d %s", rt.method, rt.path, resp.StatusCode, body)
			}
			continue
		}
		walked++
		wrongRole := i.provider(t)
		if rt.access == byProvider {
			wrongRole = i.function(t, alice, time.Hour)
		}
		for name, c := range map[string]struct {
			authorization string
			status        int
		}{
			"none":       {"", 401},
			"basic":      {"Basic YTpi", 401},
			"garbage":    {"Bearer x.y.z", 401},
			"expired":    {i.function(t, alice, -time.Minute), 401},
			"other key":  {stranger.function(t, alice, time.Hour), 401},
			"wrong role": {wrongRole, 403},
		} {
			resp, body := send(t, rt.method, url, "", "Authorization", c.authorization)
			if resp.StatusCode != c.status || !strings.HasPrefix(body, `{"error":"`) {
				t.Errorf("%s %s with token %s: %d %s, want %d", rt.method, rt.path, name, resp.StatusCode, body, c.status)
			}
			if (resp.Header.Get("WWW-Authenticate") != "") != (c.status == 401) {
				t.Errorf("%s: WWW-Authenticate is %q with %d", rt.path, resp.Header.Get("WWW-Authenticate"), c.status)
			}
		}
	}
	if walked < 15 {
		t.Errorf("only %d routes are guarded", walked)
	}
}

func TestModelsOfOthersDoNotExist(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	bob := api.FunctionRef{Namespace: "ns", Name: "bob", UID: "1"}
	addModel(t, i.Server, bob, "m", "1")
	mine, theirs := i.function(t, bob, time.Hour), i.function(t, alice, time.Hour)
	redeployed := i.function(t, api.FunctionRef{Namespace: "ns", Name: "bob", UID: "2"}, time.Hour)
	for _, rt := range i.table() {
		if !strings.Contains(rt.path, "{model}") {
			continue
		}
		url := i.url + fill.Replace(rt.path)
		body := ""
		if strings.HasSuffix(rt.path, "/infer") {
			body = four
		}
		if resp, answer := send(t, rt.method, url, body, "Authorization", mine); resp.StatusCode != 200 {
			t.Errorf("%s of one's own: %d %s", rt.path, resp.StatusCode, answer)
		}
		for _, other := range []string{theirs, redeployed} {
			if resp, answer := send(t, rt.method, url, body, "Authorization", other); resp.StatusCode != 404 || !strings.Contains(answer, "unknown model") {
				t.Errorf("%s of another function: %d %s", rt.path, resp.StatusCode, answer)
			}
		}
	}
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{})
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/", 404, "no such route: /"},
		{"GET", "/v2/nothing", 404, "no such route"},
		{"GET", "/v2/models/twice/infer", 405, "takes POST"},
		{"DELETE", "/v2/models/twice", 405, "takes GET"},
		{"POST", "/v2/faas-gpu/references", 405, "takes PUT"},
	} {
		resp, body := send(t, c.method, h.URL+c.path, "")
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) || resp.Header.Get(api.HeaderEpoch) == "" {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, body)
		}
	}
	if resp, body := send(t, "HEAD", h.URL+"/v2/models/twice", ""); resp.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: %d %q", resp.StatusCode, body)
	}
}

// decode reads a JSON answer.
func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}

func TestMetadata(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{})
	addModel(t, s, api.FunctionRef{}, "twice", "10")
	addModel(t, s, api.FunctionRef{}, "twice", "9")
	_, body := send(t, "GET", h.URL+"/v2/models/twice", "")
	want := `{"name":"twice","versions":["1","9","10"],"platform":"fake_onnx","inputs":[{"name":"x","datatype":"FP32","shape":[4]}],"outputs":[{"name":"y","datatype":"FP32","shape":[4]}]}`
	if body != want {
		t.Errorf("metadata is %s", body)
	}
	_, body = send(t, "GET", h.URL+"/v2", "")
	if m := decode[oip.ServerMetadata](t, body); m.Name != "faas-gpu" || m.Version != "test" || len(m.Extensions) != 3 {
		t.Errorf("server metadata is %+v", m)
	}
	// The highest number is served, not the last in the alphabet.
	if _, body := send(t, "POST", h.URL+inferPath, four); !strings.Contains(body, `"model_version":"10"`) {
		t.Errorf("served is %s", body)
	}
	if _, body := send(t, "POST", h.URL+"/v2/models/twice/versions/9/infer", four); !strings.Contains(body, `"model_version":"9"`) {
		t.Errorf("served is %s", body)
	}
}

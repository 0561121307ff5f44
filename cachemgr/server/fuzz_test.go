package server

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// FuzzRoutes sends anything to every route that takes a body. Whatever comes, the
// answer is one of the protocol, and the model still works.
func FuzzRoutes(f *testing.F) {
	s, err := New(Config{Manager: newFakeManager(), Store: openStore(f, f.TempDir()), Auth: Everybody{}, Log: discard()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	function := api.FunctionRef{Name: "of the fuzz test"} // offers of the caller do not withdraw it
	addModel(f, s, function, "twice", "1")
	var paths []string
	for _, rt := range s.table() {
		if rt.method != "GET" {
			paths = append(paths, rt.method+" "+strings.NewReplacer("{model}", "twice", "{version}", "1", "{digest}", offerOf("twice", "1").Digest).Replace(rt.path))
		}
	}
	for i := range paths {
		for _, body := range []string{
			four, "", "{}", "[]", "null", `{"models":[{"name":"m","version":"1","format":"onnx","digest":"` + offerOf("m", "1").Digest + `","size_bytes":5}]}`,
			`{"digest":"x"}`, `{"generation":1,"at":"2020-01-01T00:00:00Z","functions":[]}`, `{"nonce":"!"}`, `{"ready":true}`,
		} {
			f.Add(uint8(i), body, "", "")
		}
	}
	f.Add(uint8(0), four, "90", "1s")
	f.Fuzz(func(t *testing.T, route uint8, body, headerLength, deadline string) {
		method, path, _ := strings.Cut(paths[int(route)%len(paths)], " ")
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header[oip.HeaderLength] = []string{headerLength}
		r.Header[api.HeaderDeadline] = []string{deadline}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		var answer any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Errorf("%s %s: %d with a body that is not JSON: %q", method, path, w.Code, w.Body)
		}
		if w.Code == 500 {
			t.Errorf("%s %s: %s", method, path, w.Body)
		}
		if used := s.memory.taken(); used != 0 {
			t.Errorf("%d bytes are still taken", used)
		}
		if n := len(s.catalog.entriesOf(function)); n != 1 {
			t.Errorf("another function has %d models now", n)
		}
	})
}

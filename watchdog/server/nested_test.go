package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
)

// protocolModels answer /v2 as a proxy does: what the model did is told to the
// request that it was for.
type protocolModels struct{ fakeModels }

func (*protocolModels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if outer := call.From(r.Context()).Outer; outer != nil {
		outer.Record(api.Info{Cache: api.CacheHit, Device: "cpu", Engine: "echo"})
	}
}

func TestForkedHandlersInferenceIsInItsAnswer(t *testing.T) {
	for _, forked := range []bool{true, false} {
		var f *fixture
		f = startWith(t, Options{Forked: forked, Models: &protocolModels{}, Function: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.get(t, "/v2/models/digits/infer", api.HeaderCallID, r.URL.Query().Get("sends"))
		})})
		for sends, want := range map[string]string{"mine": "hit", "": "", "other": ""} {
			resp, _ := f.get(t, "/?sends="+sends, api.HeaderCallID, "mine")
			if !forked {
				want = ""
			}
			if got := resp.Header.Get(api.HeaderCache); got != want {
				t.Errorf("forked %v, call id %q: the answer says %q, want %q", forked, sends, got, want)
			}
		}
		if len(f.running.calls) != 0 {
			t.Errorf("%d requests are still known", len(f.running.calls))
		}
	}
}

func TestRunningWithEqualIDs(t *testing.T) {
	newCall := func(id string) *call.Call {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(api.HeaderCallID, id)
		return call.New(r, nil, "")
	}
	var r running
	a, b, other := newCall("x"), newCall("x"), newCall("y")
	steps := []struct {
		do   func(*call.Call)
		call *call.Call
		want *call.Call // found for "x" after it
	}{
		{r.begin, a, a}, {r.begin, other, a}, {r.begin, b, nil}, {r.end, a, nil}, {r.end, other, nil}, {r.end, b, nil}, {r.begin, b, b}, {r.end, b, nil},
	}
	for i, s := range steps {
		s.do(s.call)
		if got := r.find("x"); got != s.want {
			t.Errorf("step %d: got %s", i, fmt.Sprint(got))
		}
	}
	if len(r.calls) != 0 {
		t.Errorf("%d are left", len(r.calls))
	}
}

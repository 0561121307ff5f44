package provider

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// TestInvokePassesOnWhatWaits gives a request that waits to the successor as it
// came, whether its body was read already or is still to come.
func TestInvokePassesOnWhatWaits(t *testing.T) {
	type seen struct{ uri, body, callID, own string }
	passed := make(chan seen, 2)
	successor := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		passed <- seen{r.RequestURI, string(body), r.Header.Get(api.HeaderCallID), r.Header.Get("X-Own")}
		w.WriteHeader(http.StatusTeapot)
	})
	b := start(t, newFakeRuntime(), func(c *Config, _ *benchConfig) { c.Successor = successor })
	b.deployed(t, nil, 0)
	for _, length := range []int64{3, -1} {
		r := b.request(t, "POST", "/function/digits/a%2fb?c=d", strings.NewReader("abc"))
		r.ContentLength = length
		r.Header.Set("X-Own", "1")
		r.Header.Set(api.HeaderCallID, "id")
		status := make(chan int, 1)
		go func() {
			resp, _ := b.ask(t, r)
			status <- resp.StatusCode
		}()
		if length > 0 {
			for b.cfg.Dispatcher.Stats().Waiting == 0 {
				select {
				case s := <-status:
					t.Fatalf("answered %d without waiting", s)
				default:
				}
			}
			b.cfg.Dispatcher.Retire()
		}
		if got, want := <-passed, (seen{"/function/digits/a%2fb?c=d", "abc", "id", "1"}); got != want {
			t.Errorf("length %d: passed on %+v, want %+v", length, got, want)
		}
		if got := <-status; got != http.StatusTeapot {
			t.Errorf("length %d: status %d", length, got)
		}
	}
	b.counts.each(func(_ runtime.ID, status int, n uint64) {
		t.Errorf("%d invocations with status %d were counted here", n, status)
	})
}

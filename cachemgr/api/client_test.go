package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs handler where a cache manager would listen and returns a client of
// it.
func serve(t testing.TB, network string, handler http.Handler) *Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	if network == "tls" {
		server.StartTLS()
		t.Cleanup(server.Close)
		c := client(t, server.URL)
		c.http.Transport.(*http.Transport).TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
		return c
	}
	address := ""
	if network == "unix" {
		address = filepath.Join(t.TempDir(), SocketOIP)
		listener, err := net.Listen("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		server.Listener.Close()
		server.Listener = listener
	}
	server.Start()
	t.Cleanup(server.Close)
	if address == "" {
		address = server.URL
	}
	return client(t, address)
}

func client(t testing.TB, address string) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{Address: address, Token: func() string { return "secret" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answer(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "relative/path", "host:8000", "ftp://host", "http://", "http://a b"} {
		if _, err := NewClient(ClientConfig{Address: bad}); err == nil {
			t.Errorf("address %q is accepted", bad)
		}
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    Error
		unknown bool
		later   bool
	}{
		{"unknown model", answer(404, `{"error":"no model \"x\""}`), Error{Status: 404, Message: `no model "x"`}, true, false},
		{"busy", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			answer(503, `{"error":"queue is full"}`)(w, r)
		}, Error{Status: 503, Message: "queue is full", RetryAfter: 7 * time.Second}, false, true},
		{"plain text", answer(401, "no token\n"), Error{Status: 401, Message: "no token"}, false, false},
		{"nothing", answer(500, ""), Error{Status: 500, Message: "Internal Server Error"}, false, false},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", 307) }, Error{Status: 307, Message: "Temporary Redirect"}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, "tcp", tt.handler)
			_, err := c.ModelMetadata(t.Context(), "x", "")
			e, ok := errors.AsType[*Error](err)
			if tt.want.Status == 307 && ok {
				e.Message = tt.want.Message // the body is net/http's
			}
			if !ok || *e != tt.want {
				t.Errorf("error %v, want %v", err, &tt.want)
			}
			if text := err.Error(); !strings.Contains(text, tt.want.Message) || !strings.Contains(text, strconv.Itoa(tt.want.Status)) {
				t.Errorf("the error says %q", text)
			}
			if IsUnknownModel(err) != tt.unknown || IsUnavailable(err) != tt.later {
				t.Errorf("unknown %v, unavailable %v", IsUnknownModel(err), IsUnavailable(err))
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "none.sock")
	_, err := client(t, gone).Cache(t.Context())
	if !errors.Is(err, ErrUnreachable) || !IsUnavailable(err) || !strings.Contains(err.Error(), gone) {
		t.Errorf("no socket: %v", err)
	}
	cutOff := serve(t, "unix", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"node":`)
		panic(http.ErrAbortHandler)
	}))
	if _, err := cutOff.Cache(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("an answer that was cut off: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the caller hung up")
	hangs := serve(t, "unix", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel(why)
		<-r.Context().Done()
	}))
	if _, err := hangs.Cache(ctx); !errors.Is(err, why) || IsUnavailable(err) {
		t.Errorf("a caller that gave up: %v", err)
	}
}

func TestReady(t *testing.T) {
	for status, want := range map[int]struct{ ready, fails bool }{
		200: {true, false}, 400: {false, false}, 503: {false, false}, 404: {false, true}, 401: {false, true},
	} {
		c := serve(t, "unix", answer(status, ""))
		ready, err := c.ModelReady(t.Context(), "m", "1")
		if ready != want.ready || (err != nil) != want.fails {
			t.Errorf("status %d: model ready %v, %v", status, ready, err)
		}
		if ready, err = c.ServerReady(t.Context()); ready != want.ready || (err != nil) != want.fails {
			t.Errorf("status %d: server ready %v, %v", status, ready, err)
		}
	}
}

func TestPathsTokenAndEpoch(t *testing.T) {
	epoch := 0
	var got []string
	c := serve(t, "tcp", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), body))
		epoch++
		w.Header().Set(HeaderEpoch, fmt.Sprint(epoch))
		io.WriteString(w, "{}")
	}))
	if c.Epoch() != "" {
		t.Error("an epoch before the first answer")
	}
	ctx := t.Context()
	at := time.Unix(0, 0).UTC()
	calls := []struct {
		call func() error
		want string
	}{
		{func() error { _, err := c.ServerMetadata(ctx); return err }, "GET /v2 Bearer secret "},
		{func() error { _, err := c.ModelMetadata(ctx, "a b/é", "2"); return err }, "GET /v2/models/a%20b%2F%C3%A9/versions/2 Bearer secret "},
		{func() error { _, err := c.Cache(ctx); return err }, "GET /v2/faas-gpu/cache Bearer secret "},
		{func() error { return c.Load(ctx, "m") }, "POST /v2/repository/models/m/load Bearer secret {}"},
		{func() error { return c.Unload(ctx, "m") }, "POST /v2/repository/models/m/unload Bearer secret {}"},
		{func() error { return c.Prefetch(ctx, PrefetchRequest{Digest: "d"}) }, `POST /v2/faas-gpu/prefetch Bearer secret {"digest":"d"}`},
		{func() error { return c.PutReferences(ctx, References{Generation: 3, At: at}) }, `PUT /v2/faas-gpu/references Bearer secret {"generation":3,"at":"1970-01-01T00:00:00Z","functions":null}`},
	}
	for i, call := range calls {
		if err := call.call(); err != nil {
			t.Errorf("%s: %v", call.want, err)
		} else if got[i] != call.want {
			t.Errorf("sent %q, want %q", got[i], call.want)
		}
		if c.Epoch() != fmt.Sprint(i+1) {
			t.Errorf("epoch %q after answer %d", c.Epoch(), i+1)
		}
	}
}

func TestWatchStatus(t *testing.T) {
	goOn := make(chan struct{})
	c := serve(t, "unix", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"generation":1,"full":true}`+"\n"+`{"gener`)
		w.(http.Flusher).Flush()
		<-goOn // the first message arrives before the second is sent
		io.WriteString(w, `ation":2}`+"\n")
	}))
	var generations []uint64
	err := c.WatchStatus(t.Context(), func(s NodeStatus) {
		generations = append(generations, s.Generation)
		if s.Full {
			close(goOn)
		}
	})
	if fmt.Sprint(generations) != "[1 2]" || !errors.Is(err, ErrUnreachable) {
		t.Errorf("generations %v, then %v", generations, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	endless := serve(t, "unix", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "{}\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	if err := endless.WatchStatus(ctx, func(NodeStatus) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("a watch that was ended: %v", err)
	}
	refused := serve(t, "unix", answer(403, `{"error":"for the provider only"}`))
	if err := refused.WatchStatus(t.Context(), nil); err == nil || IsUnavailable(err) {
		t.Errorf("a watch that was refused: %v", err)
	}
}

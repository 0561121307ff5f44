package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/internal/env"
	"github.com/faas-gpu/faas-gpu/provider"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

func TestReadScheduling(t *testing.T) {
	for variables, want := range map[string]Scheduling{
		"":                         {Policy: "swap"},
		"policy=lalbo3,o3_limit=7": {Policy: "lalbo3", Limit: 7},
		"policy=lb,credits=3":      {Policy: "lb", Credits: 3},
		"policy=least-in-flight":   {Policy: "least-in-flight"},
	} {
		set := env.New(strings.Split(variables, ","))
		if got := ReadLimits(set).Scheduling; got != want || set.Err() != nil {
			t.Errorf("%s: got %+v, %v", variables, got, set.Err())
		}
	}
	for _, bad := range []string{"policy=best", "policy=lb,o3_limit=2", "policy=lalb,o3_limit=2", "o3_limit=-1", "credits=few", "credits=-1"} {
		set := env.New(strings.Split(bad, ","))
		if ReadLimits(set); set.Err() == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// reports is a node that says where a model is, and nothing more.
type reports struct{ status api.NodeStatus }

func (r reports) WatchStatus(ctx context.Context, f func(api.NodeStatus)) error {
	f(r.status)
	<-ctx.Done()
	return ctx.Err()
}

func (reports) PutReferences(context.Context, api.References) error { return nil }
func (reports) Prefetch(context.Context, api.PrefetchRequest) error { return nil }

// TestDecisionsAreLogged: at level debug each choice of a device is written down
// with what it costs; at others it costs nothing.
func TestDecisionsAreLogged(t *testing.T) {
	var log bytes.Buffer
	if logDecisions(slog.New(slog.NewTextHandler(&log, nil))) != nil {
		t.Error("decisions are described although nobody wants to know")
	}
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	logDecisions(logger)(locality.Decision{Request: 7, Function: "f", Device: "n/gpu", Why: "it is the cheapest"})
	if line := log.String(); !strings.Contains(line, "device=n/gpu") || !strings.Contains(line, `why="it is the cheapest"`) {
		t.Errorf("got %s", line)
	}
}

// withDevices serves digits, whose model is on gpu1 of two devices that may be given
// one request each, and returns the address once that is known.
func withDevices(t *testing.T, h http.HandlerFunc) (url string) {
	t.Helper()
	rt := withDigits(t, h)
	for _, f := range rt.snapshot.Functions {
		f.Replicas[0].Node, f.Revisions = "here", []string{"r1"}
	}
	node := reports{api.NodeStatus{Node: "here", Full: true, Devices: []api.DeviceStatus{{ID: "gpu0", Budget: 100}, {ID: "gpu1", Budget: 100}}, Models: []api.ModelStatus{{
		Digest: "sha", Size: 1, Bytes: 1, Instances: []api.InstanceStatus{{Device: "gpu1", State: api.StateResident}},
		Names: []api.ModelName{{Function: api.FunctionRef{Namespace: "openfaas-fn", Name: "digits", UID: "r1"}, Name: "m", Version: "1"}},
	}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := DefaultLimits()
	limits.Scheduling.Credits = 1
	s, err := Start(Config{
		Listener: l, Runtime: rt, Limits: limits, Nodes: map[string]provider.NodeClient{"/n": node}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	url = "http://" + l.Addr().String()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(hinted(t, url+"/system/gpu/explain?function=digits"), `"device":"here/gpu1"`); {
		if time.Now().After(deadline) {
			t.Fatal(hinted(t, url+"/system/gpu/explain?function=digits"))
		}
	}
	return url
}

// hinted is what a URL answers to a client that sends a hint of its own.
func hinted(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(api.HeaderDeviceHint, "gpu7")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestDevicesAreChosen: the whole provider sends a request with the hint of the
// device that its model is on, whatever hint the client sent.
func TestDevicesAreChosen(t *testing.T) {
	hints := make(chan string, 1)
	url := withDevices(t, func(_ http.ResponseWriter, r *http.Request) { hints <- r.Header.Get(api.HeaderDeviceHint) })
	hinted(t, url+"/function/digits")
	if hint := <-hints; hint != "gpu1" {
		t.Errorf("sent with the hint %q", hint)
	}
}

// TestLongAnswersKeepNoDevice: more of them than devices may be given requests keep
// nobody else from one, be it that their clients read nothing, that they go on, or
// that they are connections which were upgraded.
func TestLongAnswersKeepNoDevice(t *testing.T) {
	large := make([]byte, 32<<20) // more than sockets hold
	url := withDevices(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		switch r.URL.RawQuery {
		case "large":
			w.Header().Set(api.HeaderCache, api.CacheHit)
			w.Header().Set(api.HeaderDevice, r.Header.Get(api.HeaderDeviceHint))
			w.Write(large)
		case "stream":
			rc.Flush()
			<-r.Context().Done()
		case "upgrade":
			conn, client, err := rc.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
			io.Copy(io.Discard, client)
		}
	})
	for _, kind := range []string{"large", "stream", "upgrade"} {
		for range 4 {
			resp := begun(t, url+"/function/digits?"+kind)
			defer resp.Body.Close()
		}
		hinted(t, url+"/function/digits")
	}
}

// begun is an answer of which only the head was read.
func begun(t *testing.T, url string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Upgrade", "test")
	r.Header.Set("Connection", "Upgrade")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport, Timeout: 0}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

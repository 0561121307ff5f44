package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const (
	// releaseTimeout is how long a call that needs the runtime may keep a successor
	// waiting. It fails then.
	releaseTimeout = 10 * time.Second
	// lastRequests is how long connections stay open, so that their clients can send
	// one more request and learn from its answer that the connection closes. One that
	// is closed while a request is on its way costs that request, and http.Server drops
	// also those that it reads first thing after Shutdown was called.
	lastRequests = 5 * time.Second
)

// Release prepares for a successor in another process, which needs the runtime
// for itself: nothing here uses it when Release returns, and it can be closed.
// Until Resume or PassOn, invocations are answered with what is known, logs that
// are followed have ended, and calls that change something wait.
func (s *Server) Release() {
	g := s.present()
	g.provider.Close()
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	s.front.hold(ctx)
	g.stop()
}

// Resume serves with another runtime after Release, as there is no successor.
func (s *Server) Resume(rt runtime.Runtime) error {
	former := s.present()
	if err := s.use(rt); err != nil {
		return err
	}
	former.dispatcher.Retire()
	return nil
}

// PassOn ends the Server after Release, when the successor serves on the same
// listening socket. What waits for a replica, and what still comes over open
// connections, is passed on to the successor; requests in flight end here. What
// takes longer than ctx is cut off.
func (s *Server) PassOn(ctx context.Context) error {
	s.passingOn.Store(true)
	if err := s.cfg.Listener.Close(); err != nil {
		s.cfg.Log.Warn("stop listening", "error", err)
	}
	s.running.Wait() // all connections that were accepted are counted
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	proxy := passOn(s.cfg.Listener.Addr().String(), transport, s.cfg.Log)
	var passed sync.WaitGroup
	s.front.show(stage{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed.Add(1)
		defer passed.Done()
		proxy.ServeHTTP(w, r)
	})})
	s.present().dispatcher.Retire()
	s.awaitLastRequests(ctx)
	err := s.Shutdown(ctx)
	awaitAll(ctx, &passed) // those that were upgraded, which Shutdown does not know
	return err
}

// awaitAll waits until all are done or ctx has ended.
func awaitAll(ctx context.Context, all *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// awaitLastRequests waits until clients have no connections any more, or for as
// long as they may use them.
func (s *Server) awaitLastRequests(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastRequests)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.connections.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// passOn sends requests to whoever listens at an address now.
func passOn(address string, transport http.RoundTripper, log *slog.Logger) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", address
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Host = r.In.Host
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
			// This is one step of the way, and not one that clients should see.
			for _, name := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				r.Out.Header.Del(name)
				if given, ok := r.In.Header[name]; ok {
					r.Out.Header[name] = given
				}
			}
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close")
		}
		proxy.ServeHTTP(w, r)
	})
}

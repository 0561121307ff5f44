package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// watcherPatience is how long a watcher may not take a message before it is cut
// off.
const watcherPatience = 10 * time.Second

// status streams what changes; ?once=1 gives one snapshot.
func (s *Server) status(w http.ResponseWriter, r *http.Request, _ Caller) error {
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	if once, _ := strconv.ParseBool(r.URL.Query().Get("once")); once || r.Method == http.MethodHead {
		line := s.hub.message()
		s.expectTaken(w, int64(len(line)))
		h.Set("Content-Length", strconv.Itoa(len(line)))
		_, _ = w.Write(line)
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	conn := http.NewResponseController(w)
	// The stream ends with ctx or the connection: both are its ordinary end.
	_ = s.hub.watch(ctx, func(line []byte) error {
		_ = conn.SetWriteDeadline(time.Now().Add(watcherPatience))
		if _, err := w.Write(line); err != nil {
			return err
		}
		return conn.Flush()
	})
	_ = conn.SetWriteDeadline(time.Now().Add(watcherPatience))
	return nil
}

// cache shows a function what is its own, and the devices.
func (s *Server) cache(w http.ResponseWriter, r *http.Request, c Caller) error {
	now := s.hub.now()
	s.writeJSON(w, http.StatusOK, api.CacheStatus{
		Node: s.hub.node, Epoch: s.Epoch(),
		Devices: now.devices, Host: now.host, Models: now.of(c.Function),
	})
	return nil
}

// prefetch starts to make a model resident and does not wait for it.
func (s *Server) prefetch(w http.ResponseWriter, r *http.Request, _ Caller) error {
	var want api.PrefetchRequest
	if err := s.readJSON(w, r, smallBody, &want); err != nil {
		return err
	}
	if !s.catalog.knows(want.Digest) {
		return fmt.Errorf("%w: digest %q", cachemgr.ErrUnknownModel, want.Digest)
	}
	s.load(want, func(err error) { s.logNotLoaded(want, err) })
	s.writeJSON(w, http.StatusAccepted, struct{}{})
	return nil
}

// load makes a model resident in the background and tells done how that has ended;
// a second wish for the same changes nothing.
func (s *Server) load(want api.PrefetchRequest, done func(error)) {
	s.background(func(ctx context.Context) {
		if _, running := s.loading.LoadOrStore(want, struct{}{}); running {
			return
		}
		defer s.loading.Delete(want)
		ctx, cancel := context.WithTimeout(ctx, s.limits.Run)
		defer cancel()
		done(s.manager.Load(ctx, want.Digest, engine.DeviceID(want.Device)))
	})
}

func (s *Server) logNotLoaded(want api.PrefetchRequest, err error) {
	if err != nil {
		s.log.Warn("model not loaded ahead of use", "digest", want.Digest, "device", want.Device, "error", err)
	}
}

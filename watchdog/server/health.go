package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
)

// alive is nil while requests are taken.
func (s *Server) alive() error {
	if !s.accepting.Load() {
		return fmt.Errorf("this replica takes no requests: it starts or ends")
	}
	if s.Config.SuppressLock {
		return nil
	}
	if _, err := os.Stat(s.Config.LockFile()); err != nil {
		return fmt.Errorf("the lock file %s is missing", s.Config.LockFile())
	}
	return nil
}

func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	if err := s.alive(); err != nil {
		writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	writeText(w, http.StatusOK, "OK")
}

// serveReady answers 200 if a request sent now would be served.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	if err := s.alive(); err != nil {
		writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	if limit := s.Config.MaxInflight; limit > 0 && s.metrics.inflight.Load() >= int64(limit) {
		writeText(w, http.StatusTooManyRequests, fmt.Sprintf("max_inflight: %d requests are running\n", limit))
		return
	}
	if s.Listening != nil {
		if err := s.Listening(); err != nil {
			writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
	}
	if s.Models != nil {
		if err := s.Models.Ready(r.Context()); err != nil {
			writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
	}
	if s.Config.ReadyPath == "" {
		writeText(w, http.StatusOK, "OK")
		return
	}
	s.askFunction(w, r)
}

// askFunction lets the function itself say whether it is ready. It has the time
// of a request for that, counts as none, and needs no room below max_inflight.
func (s *Server) askFunction(w http.ResponseWriter, r *http.Request) {
	path, err := url.Parse(s.Config.ReadyPath)
	if err != nil {
		writeText(w, http.StatusInternalServerError, fmt.Sprintf("ready_path: %v\n", err))
		return
	}
	ask := r.Clone(r.Context())
	ask.URL, ask.RequestURI = path, s.Config.ReadyPath
	c := call.New(ask, s.inferer(), s.Config.SecretsDir)
	s.run(newResponse(w, c, s.active, time.Now()), ask, s.Function.ServeHTTP)
}

// serveCache says where the function's models are.
func (s *Server) serveCache(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	if s.Models == nil {
		writeJSON(w, http.StatusNotFound, oip.ErrorBody{Error: "this function has no models: put them at " + s.Config.ModelsPath + "/NAME/VERSION/model.onnx"})
		return
	}
	status, err := s.Models.Status(r.Context())
	if err != nil {
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, oip.ErrorBody{Error: err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, status)
}

func onlyGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet {
		return true
	}
	w.Header().Set("Allow", http.MethodGet)
	writeText(w, http.StatusMethodNotAllowed, r.URL.Path+" answers GET only\n")
	return false
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client's loss
}

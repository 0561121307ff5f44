// Package fakecache is a small cache manager for tests: it speaks the protocol
// on a Unix socket, checks nothing that is not about a watchdog, and can be
// killed and started again. Its models answer with their inputs.
package fakecache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// Server is a cache manager. Its fields may be changed while Hold is held or
// nothing runs.
type Server struct {
	Socket string
	// Refuse gives reasons to refuse models, by name; Unready reasons not to be
	// ready; Fail a status to answer inferences with.
	Refuse, Unready map[string]string
	Fail            int
	// Gate, if not nil, is received from by every inference before it answers.
	Gate chan struct{}

	mu      sync.Mutex
	epoch   int
	blobs   map[string][]byte // by digest; they survive a restart
	models  map[string]string // name/version: digest
	offers  int
	headers []http.Header
	http    *http.Server
	served  chan struct{}
	codec   *oip.Codec
}

// New makes a cache manager that Serve starts.
func New(socket string) *Server {
	return &Server{Socket: socket, Refuse: map[string]string{}, Unready: map[string]string{}, blobs: map[string][]byte{}, codec: oip.NewCodec(64 << 20)}
}

// Start starts a cache manager at a socket, until the test ends.
func Start(t testing.TB, socket string) *Server {
	t.Helper()
	s := New(socket)
	s.Restart(t, true)
	t.Cleanup(s.Kill)
	return s
}

// Restart starts it as another run, with or without the models that the last
// one knew.
func (s *Server) Restart(t testing.TB, forget bool) {
	t.Helper()
	if err := s.Serve(forget); err != nil {
		t.Fatal(err)
	}
}

// Hold locks the fields for f.
func (s *Server) Hold(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Kill ends it at once, with all connections.
func (s *Server) Kill() {
	s.mu.Lock()
	srv, served := s.http, s.served
	s.http = nil
	s.mu.Unlock()
	if srv != nil {
		srv.Close()
		<-served
	}
}

// Serve is Restart outside of tests. It serves in the background.
func (s *Server) Serve(forget bool) error {
	ln, err := net.Listen("unix", s.Socket)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	if forget {
		s.models = map[string]string{}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.RouteModels, s.offer)
	mux.HandleFunc("POST "+api.RouteProof, s.proof)
	mux.HandleFunc("PUT "+api.RouteBlobs+"{digest}", s.upload)
	mux.HandleFunc("GET "+api.RouteCache, s.cache)
	mux.HandleFunc("GET /v2/models/{model}/ready", s.ready)
	mux.HandleFunc("POST /v2/models/{model}/infer", s.infer)
	mux.HandleFunc("POST /v2/models/{model}/versions/{version}/infer", s.infer)
	mux.HandleFunc("GET "+api.RouteStatus, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "secret") })
	srv, served := &http.Server{Handler: s.note(mux)}, make(chan struct{})
	s.http, s.served = srv, served
	go func() {
		defer close(served)
		srv.Serve(ln)
	}()
	return nil
}

// Forget drops every model, without a restart.
func (s *Server) Forget() { s.Hold(func() { s.models = map[string]string{} }) }

// Offers is how many offers came so far.
func (s *Server) Offers() (n int) {
	s.Hold(func() { n = s.offers })
	return n
}

// Headers are those of the requests for an inference so far.
func (s *Server) Headers() (h []http.Header) {
	s.Hold(func() { h = s.headers[:len(s.headers):len(s.headers)] })
	return h
}

// Epoch names the present run.
func (s *Server) Epoch() (e string) {
	s.Hold(func() { e = strconv.Itoa(s.epoch) })
	return e
}

func (s *Server) note(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(api.HeaderEpoch, s.Epoch())
		h.ServeHTTP(w, r)
	})
}

func (s *Server) offer(w http.ResponseWriter, r *http.Request) {
	var in api.OfferRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers++
	out := api.OfferResponse{Epoch: strconv.Itoa(s.epoch)}
	for _, o := range in.Models {
		a := api.Offered{Name: o.Name, Version: o.Version, Digest: o.Digest}
		switch {
		case s.Refuse[o.Name] != "":
			a.Error = s.Refuse[o.Name]
		case s.blobs[o.Digest] == nil:
			a.Need = api.NeedUpload
		case s.models[o.Name+"/"+o.Version] != o.Digest:
			a.Need, a.Nonce = api.NeedProof, "bm9uY2U="
			s.models[o.Name+"/"+o.Version] = "" // until it is proven
		}
		out.Models = append(out.Models, a)
	}
	answer(w, out)
}

func (s *Server) proof(w http.ResponseWriter, r *http.Request) {
	var p api.Proof
	json.NewDecoder(r.Body).Decode(&p)
	s.mu.Lock()
	defer s.mu.Unlock()
	blob := s.blobs[p.Digest]
	sum := sha256.Sum256(append([]byte("nonce"), blob...))
	if hex.EncodeToString(sum[:]) != p.SHA256 {
		fail(w, http.StatusForbidden, "the proof is wrong")
		return
	}
	s.models[p.Name+"/"+p.Version] = p.Digest
	answer(w, api.Offered{Name: p.Name, Version: p.Version, Digest: p.Digest})
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	blob, err := io.ReadAll(r.Body)
	sum := sha256.Sum256(blob)
	if digest := "sha256:" + hex.EncodeToString(sum[:]); err != nil || digest != r.PathValue("digest") {
		fail(w, http.StatusBadRequest, "the bytes are not those of the digest")
		return
	}
	s.Hold(func() { s.blobs[r.PathValue("digest")] = blob })
}

// known reports whether a model is registered; version "" is any.
func (s *Server) known(model, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, digest := range s.models {
		if digest != "" && (k == model+"/"+version || version == "" && len(k) > len(model) && k[:len(model)+1] == model+"/") {
			return true
		}
	}
	return false
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	model := r.PathValue("model")
	var reason string
	s.Hold(func() { reason = s.Unready[model] })
	switch {
	case !s.known(model, ""):
		fail(w, http.StatusNotFound, "unknown model")
	case reason != "":
		fail(w, http.StatusServiceUnavailable, reason)
	default:
		answer(w, oip.ModelReady{Name: model, Ready: true})
	}
}

func (s *Server) cache(w http.ResponseWriter, r *http.Request) {
	status := api.CacheStatus{Node: "fake", Epoch: s.Epoch()}
	s.Hold(func() {
		for model, reason := range s.Unready {
			status.Models = append(status.Models, api.ModelStatus{
				Names:     []api.ModelName{{Name: model, Version: "1"}},
				Instances: []api.InstanceStatus{{Device: "cpu", State: api.StateFailed, Reason: reason}},
			})
		}
	})
	answer(w, status)
}

func (s *Server) infer(w http.ResponseWriter, r *http.Request) {
	var gate chan struct{}
	var status int
	s.Hold(func() {
		s.headers = append(s.headers, r.Header)
		gate, status = s.Gate, s.Fail
	})
	if !s.known(r.PathValue("model"), r.PathValue("version")) {
		fail(w, http.StatusNotFound, "unknown model")
		return
	}
	length, err := strconv.ParseInt(r.Header.Get(oip.HeaderLength), 10, 64)
	if err != nil {
		length = -1
	}
	in, err := s.codec.ReadRequest(r.Body, r.ContentLength, length)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	defer in.Release()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	if status != 0 {
		w.Header().Set("Retry-After", "7")
		fail(w, status, fmt.Sprintf("told to answer %d", status))
		return
	}
	m, err := s.codec.EncodeResponse(&oip.Response{Model: r.PathValue("model"), Version: "1", Outputs: in.Inputs}, in.WantsBinary)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	defer m.Release()
	h := w.Header()
	h.Set(api.HeaderCache, api.CacheSwap)
	h.Set(api.HeaderDevice, "cpu")
	h.Set(api.HeaderEngine, "echo")
	h.Set(api.HeaderTiming, api.Timing{Swap: 2 * time.Millisecond, Compute: time.Millisecond}.Format())
	h.Set("Content-Type", m.ContentType())
	h.Set("Content-Length", strconv.FormatInt(m.Size(), 10))
	if n := m.HeaderSize(); n >= 0 {
		h.Set(oip.HeaderLength, strconv.FormatInt(n, 10))
	}
	m.WriteTo(w)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", oip.ContentJSON)
	json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", oip.ContentJSON)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(oip.ErrorBody{Error: message})
}

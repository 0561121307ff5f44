package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// access says who may use a route.
type access int

const (
	open       access = iota // everybody: health, and what the server is
	byFunction               // a function, for its own models
	byProvider               // the provider
)

// handler answers a request or returns an error; then it has written nothing.
type handler func(w http.ResponseWriter, r *http.Request, c Caller) error

// route is one path with its only method.
type route struct {
	method, path string
	access       access
	handle       handler
}

func (s *Server) table() []route {
	return []route{
		{"GET", "/v2", open, s.serverMetadata},
		{"GET", "/v2/health/live", open, s.live},
		{"GET", "/v2/health/ready", open, s.ready},

		{"GET", "/v2/models/{model}", byFunction, s.modelMetadata},
		{"GET", "/v2/models/{model}/ready", byFunction, s.modelReady},
		{"POST", "/v2/models/{model}/infer", byFunction, s.infer},
		{"GET", "/v2/models/{model}/config", byFunction, s.modelConfig},
		{"GET", "/v2/models/{model}/stats", byFunction, s.statistics},
		{"GET", "/v2/models/{model}/versions/{version}", byFunction, s.modelMetadata},
		{"GET", "/v2/models/{model}/versions/{version}/ready", byFunction, s.modelReady},
		{"POST", "/v2/models/{model}/versions/{version}/infer", byFunction, s.infer},
		{"GET", "/v2/models/{model}/versions/{version}/config", byFunction, s.modelConfig},
		{"GET", "/v2/models/{model}/versions/{version}/stats", byFunction, s.statistics},
		{"GET", "/v2/models/stats", byFunction, s.statistics},

		{"POST", "/v2/repository/index", byFunction, s.repositoryIndex},
		{"POST", "/v2/repository/models/{model}/load", byFunction, s.repositoryLoad},
		{"POST", "/v2/repository/models/{model}/unload", byFunction, s.repositoryUnload},

		{"GET", "/v2/systemsharedmemory/status", byFunction, s.sharedMemory},
		{"GET", "/v2/systemsharedmemory/region/{region}/status", byFunction, s.sharedMemory},
		{"POST", "/v2/systemsharedmemory/region/{region}/register", byFunction, s.sharedMemoryByName},
		{"POST", "/v2/systemsharedmemory/region/{region}/unregister", byFunction, s.sharedMemoryByName},
		{"POST", "/v2/systemsharedmemory/unregister", byFunction, s.sharedMemoryByName},

		{"POST", api.RouteModels, byFunction, s.offer},
		{"POST", api.RouteProof, byFunction, s.proof},
		{"PUT", api.RouteBlobs + "{digest}", byFunction, s.upload},
		{"GET", api.RouteCache, byFunction, s.cache},

		{"GET", api.RouteStatus, byProvider, s.status},
		{"POST", api.RoutePrefetch, byProvider, s.prefetch},
		{"PUT", api.RouteReferences, byProvider, s.references},
	}
}

func (s *Server) routes() {
	s.mux = http.NewServeMux()
	for _, rt := range s.table() {
		s.mux.Handle(rt.path, s.serve(rt))
	}
	s.mux.Handle("/", s.serve(route{access: open, handle: func(_ http.ResponseWriter, r *http.Request, _ Caller) error {
		return fmt.Errorf("%w: %s", errNoRoute, r.URL.Path)
	}}))
}

// ServeHTTP answers every route of package oip and of package api.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// serve is what all routes have in common.
func (s *Server) serve(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()[api.HeaderEpoch] = s.epoch
		if r.ContentLength != 0 {
			s.expectBody(w, s.bodySize(r))
		}
		if r.Header["Expect"] != nil {
			setWriteDeadline(w, time.Time{}) // the last answer's: "100 Continue" comes before this one's
		}
		if err := s.admit(rt, w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

func (s *Server) admit(rt route, w http.ResponseWriter, r *http.Request) error {
	if rt.method != "" && r.Method != rt.method && !(r.Method == "HEAD" && rt.method == "GET") {
		w.Header().Set("Allow", rt.method)
		return fmt.Errorf("%w: %s takes %s", errMethod, r.URL.Path, rt.method)
	}
	if rt.access == open {
		return rt.handle(w, r, Caller{})
	}
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	if rt.access == byProvider && !c.Provider {
		return fmt.Errorf("%w: %s is for the provider only", errForbidden, r.URL.Path)
	}
	if rt.access == byFunction && !c.Owner {
		return fmt.Errorf("%w: %s is for functions; this token is of the provider", errForbidden, r.URL.Path)
	}
	return rt.handle(w, r, c)
}

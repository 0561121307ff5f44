package provider

import (
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/openfaas/faas-provider/auth"
)

// route is one line of the API.
type route struct {
	path    string
	methods []string
	handler http.HandlerFunc
	// open routes need no credentials.
	open bool
	// label stands for the path in metrics.
	label string
}

// namePattern is how a function or a namespace stands in a path.
const namePattern = "{name:[-a-zA-Z_0-9.]+}"

func (p *Provider) table() []route {
	h := p.Handlers()
	get, post, put, remove := http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []route{
		{path: "/system/functions", methods: []string{get}, handler: h.FunctionLister},
		{path: "/system/functions", methods: []string{post}, handler: h.DeployFunction},
		{path: "/system/functions", methods: []string{put}, handler: h.UpdateFunction},
		{path: "/system/functions", methods: []string{remove}, handler: h.DeleteFunction},
		{path: "/system/function/" + namePattern, methods: []string{get}, handler: h.FunctionStatus, label: "/system/function"},
		{path: "/system/scale-function/" + namePattern, methods: []string{post}, handler: h.ScaleFunction, label: "/system/scale-function"},
		{path: "/system/info", methods: []string{get}, handler: h.Info},
		{path: "/system/secrets", methods: []string{get, post, put, remove}, handler: h.Secrets},
		{path: "/system/logs", methods: []string{get}, handler: h.Logs},
		{path: "/system/namespaces", methods: []string{get}, handler: h.ListNamespaces},
		{path: "/system/namespace/", methods: []string{get, post, put, remove}, handler: h.MutateNamespace, label: "/system/namespace"},
		{path: "/system/namespace/" + namePattern, methods: []string{get, post, put, remove}, handler: h.MutateNamespace, label: "/system/namespace"},
		{path: "/system/gpu", methods: []string{get}, handler: p.gpu},
		{path: "/system/gpu/explain", methods: []string{get}, handler: p.explain},
		{path: "/healthz", methods: []string{get, http.MethodHead}, handler: h.Health, open: true},
		{path: "/metrics", methods: []string{get}, handler: p.metrics.handler.ServeHTTP, open: true},
		// The gateway's Prometheus client sends no credentials. What it gets are
		// names and counts, as in /metrics.
		{path: "/api/v1/query", methods: []string{get, post}, handler: p.query, open: true},
	}
}

func (p *Provider) routes() http.Handler {
	router := mux.NewRouter()
	for _, r := range p.table() {
		h := r.handler
		if !r.open && p.cfg.Credentials != nil {
			h = auth.DecorateWithBasicAuth(h, p.cfg.Credentials)
		}
		router.Handle(r.path, p.metrics.instrument(either(r.label, r.path), h)).Methods(r.methods...)
	}
	router.PathPrefix("/async-function/").HandlerFunc(p.async)
	router.NotFoundHandler = http.HandlerFunc(noRoute)
	router.MethodNotAllowedHandler = http.HandlerFunc(wrongMethod)
	return router
}

// noRoute helps those who look for a page here.
func noRoute(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "there is no "+r.URL.Path+"; functions are at /function/NAME, the OpenFaaS API at /system/functions and so on, "+
		"and what models do at /system/gpu", http.StatusNotFound)
}

func wrongMethod(w http.ResponseWriter, r *http.Request) {
	http.Error(w, r.URL.Path+" does not take "+r.Method, http.StatusMethodNotAllowed)
}

// ServeHTTP answers invocations without a detour through the router, which would
// also unescape their paths.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, prefixFunction) {
		p.invoke(w, r)
		return
	}
	if r.ContentLength != 0 {
		// Also of a body that no handler reads: the server does, before it answers.
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.cfg.Limits.BodyTimeout))
	}
	p.handler.ServeHTTP(w, r)
}

// async says why there is no such route.
func (p *Provider) async(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "asynchronous invocations need the OpenFaaS gateway with NATS and a queue-worker in front of this provider; "+
		"invoke the function at /function/ instead", http.StatusNotFound)
}

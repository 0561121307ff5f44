package attach

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// ServeOnly answers for a function that is its model and nothing else: POST / is
// an inference with it, as /v2/models/NAME/infer takes one, and GET / describes
// it.
func (p *Proxy) ServeOnly(w http.ResponseWriter, r *http.Request) {
	path, err := p.onlyRoute(r.Method, r.URL.Path)
	if err != nil {
		if err.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD, POST")
		}
		p.fail(w, r, err)
		return
	}
	out := r.WithContext(r.Context()) // the caller's stays as it is
	out.URL = &url.URL{Path: path, RawQuery: r.URL.RawQuery}
	p.ServeHTTP(w, out)
}

// onlyRoute is the route of the protocol that a request to the function is for.
func (p *Proxy) onlyRoute(method, path string) (string, *api.Error) {
	if path != "/" {
		return "", &api.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("no such route: %s; this function is a model, which answers at / and /v2/models", path)}
	}
	names := p.a.Models.Names()
	if len(names) != 1 {
		return "", &api.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("/ is for functions of one model, and this one has %s: ask at /v2/models/NAME/infer", strings.Join(names, ", "))}
	}
	model := "/v2/models/" + names[0]
	switch method {
	case http.MethodPost:
		return model + "/infer", nil
	case http.MethodGet, http.MethodHead:
		return model, nil
	}
	return "", &api.Error{Status: http.StatusMethodNotAllowed, Message: "POST infers, GET describes the model; " + method + " does neither"}
}

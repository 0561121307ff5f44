package provider

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// namespaceMark is the label by which OpenFaaS knows the namespaces for functions.
const namespaceMark = "openfaas"

// listNamespaces answers GET /system/namespaces, the default one first.
func (p *Provider) listNamespaces(w http.ResponseWriter, r *http.Request) {
	all, err := p.cfg.Runtime.ListNamespaces(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Name
	}
	writeJSON(w, names)
}

// mutateNamespace answers /system/namespace/NAME: GET, POST, PUT and DELETE one.
func (p *Provider) mutateNamespace(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		p.getNamespace(w, r)
		return
	}
	n, err := readNamespace(w, r)
	if err == nil {
		err = p.changeNamespace(r, n)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.cfg.Log.Info("namespace changed", "namespace", n.Name, "method", r.Method)
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (p *Provider) changeNamespace(r *http.Request, n runtime.Namespace) error {
	rt := p.cfg.Runtime
	switch r.Method {
	case http.MethodPost:
		return rt.CreateNamespace(r.Context(), n)
	case http.MethodPut:
		return rt.UpdateNamespace(r.Context(), n)
	}
	return rt.DeleteNamespace(r.Context(), n.Name)
}

func (p *Provider) getNamespace(w http.ResponseWriter, r *http.Request) {
	name := mux.Vars(r)["name"]
	all, err := p.cfg.Runtime.ListNamespaces(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	for _, n := range all {
		if n.Name == name {
			labels := map[string]string{namespaceMark: "1"}
			maps.Copy(labels, n.Labels)
			writeJSON(w, types.FunctionNamespace{Name: n.Name, Labels: labels, Annotations: n.Annotations})
			return
		}
	}
	p.fail(w, r, fmt.Errorf("namespace %s: %w", name, runtime.ErrNotFound))
}

// readNamespace reads which namespace a request is about. Clients name it in the
// path, in the body, or in both; and a body they may leave out to delete one.
func readNamespace(w http.ResponseWriter, r *http.Request) (runtime.Namespace, error) {
	var body types.FunctionNamespace
	inPath, deletes := mux.Vars(r)["name"], r.Method == http.MethodDelete
	if !deletes || r.ContentLength != 0 {
		if err := readJSON(w, r, &body); err != nil {
			return runtime.Namespace{}, err
		}
	}
	n := runtime.Namespace{Name: either(body.Name, inPath), Labels: body.Labels, Annotations: body.Annotations}
	switch {
	case inPath != "" && inPath != n.Name:
		return n, fmt.Errorf("%w: the body names the namespace %q, the path %q", errBadRequest, n.Name, inPath)
	case !function.ValidName(n.Name):
		return n, fmt.Errorf("%w: %q is not a name of 1 to 63 lower-case letters, digits and hyphens that begins and ends with a letter or a digit",
			errBadRequest, n.Name)
	case !deletes && body.Labels[namespaceMark] != "1":
		return n, fmt.Errorf("%w: the label %s=1 is missing, by which OpenFaaS knows the namespaces for functions", errBadRequest, namespaceMark)
	}
	return n, nil
}

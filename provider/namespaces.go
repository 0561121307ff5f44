package provider

import "net/http"

// listNamespaces answers GET /system/namespaces, the default one first.
func (p *Provider) listNamespaces(w http.ResponseWriter, r *http.Request) {
	names, err := p.cfg.Runtime.ListNamespaces(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	writeJSON(w, names)
}

// mutateNamespace answers /system/namespace/NAME.
func (p *Provider) mutateNamespace(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "this runtime has a fixed set of namespaces, see /system/namespaces", http.StatusNotImplemented)
}

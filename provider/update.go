package provider

import "net/http"

// update answers PUT /system/functions. faas-cli tries it first and deploys on
// a 404.
func (p *Provider) update(w http.ResponseWriter, r *http.Request) {
	p.accept(w, r, p.cfg.Runtime.Update)
}

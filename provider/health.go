package provider

import "net/http"

// health answers GET /healthz: the provider serves.
func (p *Provider) health(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusOK)
}

package provider

import (
	"net/http"
	"strconv"

	"github.com/gorilla/mux"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// status answers GET /system/function/NAME, from memory: the gateway may ask
// before every invocation.
func (p *Provider) status(w http.ResponseWriter, r *http.Request) {
	id := runtime.ID{Namespace: namespaceOf(r, ""), Name: mux.Vars(r)["name"]}
	f := p.cfg.Runtime.Snapshot().Functions[id]
	if f == nil {
		p.fail(w, r, notFound(id))
		return
	}
	s := function.Status(f, p.counts.total(id))
	if usage, err := strconv.ParseBool(r.URL.Query().Get("usage")); err == nil && usage {
		s.Usage = function.Usage(f)
	}
	writeJSON(w, s)
}

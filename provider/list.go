package provider

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/function"
)

// list answers GET /system/functions, from memory.
func (p *Provider) list(w http.ResponseWriter, r *http.Request) {
	namespace := namespaceOf(r, "")
	found := []types.FunctionStatus{}
	for id, f := range p.cfg.Runtime.Snapshot().Functions {
		if id.Namespace == namespace {
			found = append(found, function.Status(f, p.counts.total(id)))
		}
	}
	slices.SortFunc(found, func(a, b types.FunctionStatus) int { return cmp.Compare(a.Name, b.Name) })
	writeJSON(w, found)
}

package provider

import (
	"net/http"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// delete answers DELETE /system/functions.
func (p *Provider) delete(w http.ResponseWriter, r *http.Request) {
	var body types.DeleteFunctionRequest
	if err := readJSON(w, r, &body); err != nil {
		p.fail(w, r, err)
		return
	}
	id := runtime.ID{Namespace: namespaceOf(r, body.Namespace), Name: body.FunctionName}
	if err := checkID(id); err != nil {
		p.fail(w, r, err)
		return
	}
	if err := p.cfg.Runtime.Delete(r.Context(), id); err != nil {
		p.fail(w, r, err)
		return
	}
	p.counts.forget(id)
	p.cfg.Log.Info("function deleted", "function", id.String())
	w.WriteHeader(http.StatusAccepted)
}

package provider

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// maxReplicas keeps a slip of the keyboard from taking a machine down.
const maxReplicas = 1000

// scale answers POST /system/scale-function/NAME.
func (p *Provider) scale(w http.ResponseWriter, r *http.Request) {
	var body types.ScaleServiceRequest
	if err := readJSON(w, r, &body); err != nil {
		p.fail(w, r, err)
		return
	}
	id := runtime.ID{Namespace: namespaceOf(r, body.Namespace), Name: mux.Vars(r)["name"]}
	err := checkID(id)
	switch {
	case err != nil:
	case body.ServiceName != "" && body.ServiceName != id.Name:
		err = fmt.Errorf("%w: the body names the function %q, the path %q", errBadRequest, body.ServiceName, id.Name)
	case body.Replicas > maxReplicas:
		err = fmt.Errorf("%w: %d replicas are more than the %d that one function may have", errBadRequest, body.Replicas, maxReplicas)
	default:
		err = p.cfg.Runtime.Scale(r.Context(), id, int(body.Replicas))
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.cfg.Log.Info("function scaled", "function", id.String(), "replicas", body.Replicas)
	w.WriteHeader(http.StatusAccepted)
}

// checkID refuses what cannot be the name of a function.
func checkID(id runtime.ID) error {
	if id.Name == "" {
		return fmt.Errorf("%w: no function is named", errBadRequest)
	}
	if !function.ValidName(id.Name) || !function.ValidName(id.Namespace) {
		return fmt.Errorf("%w: %q in namespace %q is not the name of a function", errBadRequest, id.Name, id.Namespace)
	}
	return nil
}

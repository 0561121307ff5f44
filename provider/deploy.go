package provider

import (
	"context"
	"net/http"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// deploy answers POST /system/functions. It does not wait until the function
// runs: pulling its image may take longer than clients wait.
func (p *Provider) deploy(w http.ResponseWriter, r *http.Request) {
	p.accept(w, r, p.cfg.Runtime.Create)
}

// accept reads a deployment and hands it to the runtime.
func (p *Provider) accept(w http.ResponseWriter, r *http.Request, change func(context.Context, runtime.Deployment) error) {
	d, err := p.readDeployment(w, r)
	if err == nil {
		err = change(r.Context(), d)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.cfg.Log.Info("function accepted", "function", d.ID.String(), "image", d.Request.Image, "method", r.Method)
	w.WriteHeader(http.StatusAccepted)
}

func (p *Provider) readDeployment(w http.ResponseWriter, r *http.Request) (runtime.Deployment, error) {
	body, err := readBody(w, r)
	if err != nil {
		return runtime.Deployment{}, err
	}
	request, err := function.Decode(body)
	if err != nil {
		return runtime.Deployment{}, err
	}
	if request.Namespace == "" {
		request.Namespace = namespaceOf(r, "")
	}
	spec, err := function.Parse(request)
	if err != nil {
		return runtime.Deployment{}, err
	}
	return spec.Deployment(request), nil
}

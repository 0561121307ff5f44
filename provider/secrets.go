package provider

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// secrets answers /system/secrets: GET names, POST, PUT and DELETE one.
func (p *Provider) secrets(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		p.listSecrets(w, r)
		return
	}
	var s types.Secret
	err := readJSON(w, r, &s)
	if err == nil {
		s.Namespace = namespaceOf(r, s.Namespace)
		err = checkSecret(s)
	}
	if err == nil {
		err = p.changeSecret(r, s)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.cfg.Log.Info("secret changed", "secret", s.Name, "namespace", s.Namespace, "method", r.Method)
	w.WriteHeader(http.StatusAccepted)
}

func (p *Provider) changeSecret(r *http.Request, s types.Secret) error {
	value := s.RawValue // faas-cli fills both from a file, and trims Value
	if len(value) == 0 {
		value = []byte(s.Value)
	}
	rt := p.cfg.Runtime
	switch r.Method {
	case http.MethodPost:
		return rt.CreateSecret(r.Context(), s.Namespace, s.Name, value)
	case http.MethodPut:
		return rt.UpdateSecret(r.Context(), s.Namespace, s.Name, value)
	}
	return rt.DeleteSecret(r.Context(), s.Namespace, s.Name)
}

func (p *Provider) listSecrets(w http.ResponseWriter, r *http.Request) {
	namespace := namespaceOf(r, "")
	names, err := p.cfg.Runtime.ListSecrets(r.Context(), namespace)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	found := []types.Secret{}
	for _, name := range names {
		found = append(found, types.Secret{Name: name, Namespace: namespace})
	}
	writeJSON(w, found)
}

var secretName = regexp.MustCompile(`^[a-z0-9]([-._a-z0-9]{0,251}[a-z0-9])?$`)

func checkSecret(s types.Secret) error {
	switch {
	case !secretName.MatchString(s.Name) || strings.Contains(s.Name, ".."):
		return fmt.Errorf("%w: %q is not a name of lower-case letters, digits, hyphens, dots and underscores that begins and ends with a letter or a digit",
			errBadRequest, s.Name)
	case s.Name == runtime.TokenFile:
		return fmt.Errorf("%w: the name %s is reserved", errBadRequest, s.Name)
	case !function.ValidName(s.Namespace):
		return fmt.Errorf("%w: %q is not the name of a namespace", errBadRequest, s.Namespace)
	}
	return nil
}

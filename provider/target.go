package provider

import (
	"net/url"
	"strings"

	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const prefixFunction = "/function/"

// target is where an invocation goes.
type target struct {
	id    runtime.ID
	path  string // of the function, as it was sent, with "/" at least
	query string // with its question mark, or nothing
}

// parseTarget splits /function/NAME[.NAMESPACE][/PATH][?QUERY]. The path stays
// as it was escaped. A name that cannot be one finds no function.
func parseTarget(u *url.URL) target {
	rest := strings.TrimPrefix(u.EscapedPath(), prefixFunction)
	name, path := rest, "/"
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		name, path = rest[:slash], rest[slash:]
	}
	t := target{id: parseName(name), path: path}
	if u.RawQuery != "" || u.ForceQuery {
		t.query = "?" + u.RawQuery
	}
	return t
}

// parseName splits NAME[.NAMESPACE] at the last dot.
func parseName(name string) runtime.ID {
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		return runtime.ID{Name: name[:dot], Namespace: name[dot+1:]}
	}
	return runtime.ID{Name: name, Namespace: function.DefaultNamespace}
}

// model is the model that a request is about, and its version, "" where it does
// not say.
func (t target) model() (name, version string) {
	rest, ok := strings.CutPrefix(t.path, "/v2/models/")
	if !ok {
		return "", ""
	}
	name, rest, _ = strings.Cut(rest, "/")
	if rest, ok = strings.CutPrefix(rest, "versions/"); ok {
		version, _, _ = strings.Cut(rest, "/")
	}
	return name, version
}

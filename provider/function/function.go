// Package function is what a deployment means to this provider: which names it
// may have, what its labels and annotations ask for, and how it is shown to
// clients. What was submitted is kept and given back word for word.
package function

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// DefaultNamespace is where a function lives that names no namespace.
const DefaultNamespace = runtime.DefaultNamespace

// ErrInvalid is in every error of this package: the deployment is at fault.
var ErrInvalid = errors.New("invalid deployment")

// Spec is a deployment as it was understood.
type Spec struct {
	ID          runtime.ID
	GPU         GPU
	Scale       Scale
	MaxInFlight int // requests that one replica takes at a time, 0 for no limit
	Limits      runtime.Resources
	StopTimeout time.Duration
	// Answer is the time that the function says its requests may take, 0 if it does
	// not say.
	Answer time.Duration
}

// Key is the function's name for schedulers.
func (s Spec) Key() string { return s.ID.String() }

// Decode reads a deployment as clients send it. Fields that it does not know are
// left out: the gateway's page sends some.
func Decode(body []byte) (types.FunctionDeployment, error) {
	var d types.FunctionDeployment
	if err := json.Unmarshal(body, &d); err != nil {
		return d, fmt.Errorf("%w: the body is not a function as JSON: %w", ErrInvalid, err)
	}
	return d, nil
}

// Parse checks a deployment and says what it asks for. The error names every
// field that is wrong, and what would be right.
func Parse(d types.FunctionDeployment) (Spec, error) {
	p := parser{settings: settings(d)}
	s := Spec{ID: runtime.ID{Namespace: d.Namespace, Name: d.Service}}
	if s.ID.Namespace == "" {
		s.ID.Namespace = DefaultNamespace
	}
	p.name("service", s.ID.Name)
	p.name("namespace", s.ID.Namespace)
	if strings.TrimSpace(d.Image) == "" {
		p.fail("image", "it is missing; an image such as digits:latest is needed")
	}
	p.environment(d.EnvVars)
	if strings.ContainsRune(d.EnvProcess, 0) {
		p.fail("envProcess", "it holds a zero byte")
	}
	s.GPU = p.gpu()
	s.Scale = p.scale()
	s.Limits = p.limits(d.Limits)
	p.requests(d.Requests)
	s.MaxInFlight = p.maxInFlight(d.EnvVars)
	s.StopTimeout = p.stopTimeout(d.EnvVars)
	if d.EnvVars["write_timeout"] != "" {
		s.Answer = s.StopTimeout // by then the watchdog has answered
	}
	if err := errors.Join(p.errs...); err != nil {
		return Spec{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s, nil
}

// Deployment is what a runtime is asked to run: d, as s understands it.
func (s Spec) Deployment(d types.FunctionDeployment) runtime.Deployment {
	return runtime.Deployment{
		ID:          s.ID,
		Request:     d,
		Limits:      s.Limits,
		Replicas:    max(1, s.Scale.Min),
		StopTimeout: s.StopTimeout,
		Environment: s.GPU.environment(),
	}
}

// parser collects what is wrong with a deployment.
type parser struct {
	settings map[string]string // labels, and annotations, which win
	errs     []error
}

func (p *parser) fail(field, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
}

// settings are the annotations and labels of d together. faas-cli users write
// com.openfaas.scale.* as labels and the rest as annotations, but not always.
func settings(d types.FunctionDeployment) map[string]string {
	all := make(map[string]string)
	if d.Labels != nil {
		maps.Copy(all, *d.Labels)
	}
	if d.Annotations != nil {
		maps.Copy(all, *d.Annotations)
	}
	return all
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// ValidName reports whether name can be that of a function or of a namespace.
func ValidName(name string) bool { return dnsLabel.MatchString(name) }

func (p *parser) name(field, name string) {
	if !ValidName(name) {
		p.fail(field, "%q is not a name of 1 to 63 lower-case letters, digits and hyphens that begins and ends with a letter or a digit", name)
	}
}

func (p *parser) environment(vars map[string]string) {
	for name, value := range vars {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			p.fail("envVars", "%q is not the name of a variable", name)
		}
		if strings.ContainsRune(value, 0) {
			p.fail("envVars", "the value of %q holds a zero byte", name)
		}
	}
}

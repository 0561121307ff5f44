package function

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

// Annotations (or labels) about models and devices.
const (
	annotationModel    = "com.openfaas.gpu.model"
	annotationSLO      = "com.openfaas.gpu.slo"
	annotationPolicy   = "com.openfaas.gpu.policy"
	annotationMode     = "com.openfaas.gpu.mode"
	annotationFallback = "com.openfaas.gpu.fallback"
	annotationRefuse   = "com.openfaas.gpu.slo.refuse"
	prefixGPU          = "com.openfaas.gpu."
)

// GPU is what a function asks for in annotations com.openfaas.gpu.*.
type GPU struct {
	Model string // the model that a request uses which names none
	// SLO is how soon a request should be answered, or Unsaid.
	SLO      time.Duration
	Refuse   bool   // a request is refused if its SLO cannot be met
	Policy   string // of scheduling, "" for the provider's
	Mode     string // "shared": the node's cache manager; "dedicated": one of its own
	Fallback string // what happens without a device: "cpu", "wait", "refuse"; "" as the model says
}

// environment tells the function's watchdog what it has to know.
func (g GPU) environment() map[string]string {
	if g.Mode == "dedicated" {
		return map[string]string{"cachemgr_mode": "child"}
	}
	return nil
}

func (p *parser) gpu() GPU {
	for _, name := range slices.Sorted(maps.Keys(p.settings)) {
		switch name {
		case annotationModel, annotationSLO, annotationRefuse, annotationPolicy, annotationMode, annotationFallback:
		default:
			if strings.HasPrefix(name, prefixGPU) {
				p.fail(name, "there is no such annotation; there are %s", strings.Join(
					[]string{annotationModel, annotationSLO, annotationRefuse, annotationPolicy, annotationMode, annotationFallback}, ", "))
			}
		}
	}
	g := GPU{
		Model:  p.settings[annotationModel],
		SLO:    p.slo(),
		Refuse: p.yes(annotationRefuse),
		Policy: p.oneOf(annotationPolicy, append([]string{""}, Policies()...)...),
		Mode:   p.oneOf(annotationMode, "shared", "dedicated"),
	}
	if _, said := p.settings[annotationFallback]; said { // else each model's own holds
		g.Fallback = p.oneOf(annotationFallback, "cpu", "wait", "refuse")
	}
	if strings.ContainsAny(g.Model, "/\\\x00 ") {
		p.fail(annotationModel, "%q is not the name of a folder below models/", g.Model)
	}
	return g
}

// Unsaid is a GPU.SLO: the function does not say, its models may.
const Unsaid time.Duration = -1

func (p *parser) slo() time.Duration {
	v, said := p.settings[annotationSLO]
	if !said {
		return Unsaid
	}
	slo, err := ParseSLO(v)
	if err != nil {
		p.fail(annotationSLO, "%v", err)
	}
	return slo
}

// ParseSLO reads an objective for the latency.
func ParseSLO(v string) (time.Duration, error) {
	slo, err := time.ParseDuration(v)
	if err != nil || slo <= 0 {
		return 0, fmt.Errorf("%.40q is not a duration above zero such as 80ms", v)
	}
	return slo, nil
}

// Policies are the names of all policies of scheduling, the default first.
func Policies() []string {
	return []string{string(locality.Swap), string(locality.LALBO3), string(locality.LALB), string(locality.LB), sched.PolicyLeastInFlight}
}

// yes reads a choice between true and false; false is the default.
func (p *parser) yes(name string) bool {
	v, said := p.settings[name]
	if !said {
		return false
	}
	yes, err := strconv.ParseBool(v)
	if err != nil {
		p.fail(name, "%q is neither true nor false", v)
	}
	return yes
}

// oneOf reads a choice; the first one is the default.
func (p *parser) oneOf(name string, choices ...string) string {
	v, ok := p.settings[name]
	if !ok {
		return choices[0]
	}
	if v == "" || !slices.Contains(choices, v) {
		named := slices.DeleteFunc(slices.Clone(choices), func(c string) bool { return c == "" })
		p.fail(name, "%q is not one of %s", v, strings.Join(named, ", "))
	}
	return v
}

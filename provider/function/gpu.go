package function

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Annotations (or labels) about models and devices.
const (
	annotationModel    = "com.openfaas.gpu.model"
	annotationSLO      = "com.openfaas.gpu.slo"
	annotationPolicy   = "com.openfaas.gpu.policy"
	annotationMode     = "com.openfaas.gpu.mode"
	annotationFallback = "com.openfaas.gpu.fallback"
	prefixGPU          = "com.openfaas.gpu."
)

// GPU is what a function asks for in annotations com.openfaas.gpu.*.
type GPU struct {
	Model    string // the model that a request uses which names none
	SLO      string // a Go duration as it was written, "" for none
	Policy   string // of scheduling
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
		case annotationModel, annotationSLO, annotationPolicy, annotationMode, annotationFallback:
		default:
			if strings.HasPrefix(name, prefixGPU) {
				p.fail(name, "there is no such annotation; there are %s", strings.Join(
					[]string{annotationModel, annotationSLO, annotationPolicy, annotationMode, annotationFallback}, ", "))
			}
		}
	}
	g := GPU{
		Model:  p.settings[annotationModel],
		SLO:    p.settings[annotationSLO],
		Policy: p.oneOf(annotationPolicy, "least-in-flight"),
		Mode:   p.oneOf(annotationMode, "shared", "dedicated"),
	}
	if _, said := p.settings[annotationFallback]; said { // else each model's own holds
		g.Fallback = p.oneOf(annotationFallback, "cpu", "wait", "refuse")
	}
	if strings.ContainsAny(g.Model, "/\\\x00 ") {
		p.fail(annotationModel, "%q is not the name of a folder below models/", g.Model)
	}
	if g.SLO != "" {
		if d, err := time.ParseDuration(g.SLO); err != nil || d <= 0 {
			p.fail(annotationSLO, "%q is not a duration such as 80ms", g.SLO)
		}
	}
	return g
}

// oneOf reads a choice; the first one is the default.
func (p *parser) oneOf(name string, choices ...string) string {
	v, ok := p.settings[name]
	if !ok {
		return choices[0]
	}
	if !slices.Contains(choices, v) {
		p.fail(name, "%q is not one of %s", v, strings.Join(choices, ", "))
	}
	return v
}

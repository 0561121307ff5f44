package function

import (
	"strconv"
	"time"

	"github.com/openfaas/faas-provider/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

const (
	// defaultWriteTimeout is the watchdog's, which waits that long for requests
	// in flight when it is asked to stop.
	defaultWriteTimeout = 30 * time.Second
	// stopMargin is what a replica gets on top to leave.
	stopMargin = 2 * time.Second
)

func (p *parser) limits(r *types.FunctionResources) runtime.Resources {
	if r == nil {
		return runtime.Resources{}
	}
	p.devices("limits", r)
	return runtime.Resources{
		MemoryBytes: p.quantity("limits.memory", r.Memory, "128Mi", (*resource.Quantity).Value),
		MilliCPU:    p.quantity("limits.cpu", r.CPU, "500m", (*resource.Quantity).MilliValue),
	}
}

// requests checks what is asked for at least. Nothing is reserved for it.
func (p *parser) requests(r *types.FunctionResources) {
	if r == nil {
		return
	}
	p.devices("requests", r)
	p.quantity("requests.memory", r.Memory, "128Mi", (*resource.Quantity).Value)
	p.quantity("requests.cpu", r.CPU, "500m", (*resource.Quantity).MilliValue)
}

// devices tolerates counts of GPUs. A function needs none to use a model on one,
// but what deploys it elsewhere should deploy it here.
func (p *parser) devices(field string, r *types.FunctionResources) {
	for name, count := range map[string]string{
		"nvidia.com/gpu": r.NvidiaGPU, "amd.com/gpu": r.AmdGPU, "intel.com/gpu": r.IntelGPU,
	} {
		if n, err := strconv.Atoi(count); count != "" && (err != nil || n < 0) {
			p.fail(field+"."+name, "%q is not a number of devices", count)
		}
	}
}

func (p *parser) quantity(field, v, example string, value func(*resource.Quantity) int64) int64 {
	if v == "" {
		return 0
	}
	q, err := resource.ParseQuantity(v)
	if err != nil || q.Sign() <= 0 {
		p.fail(field, "%q is not a quantity such as %s", v, example)
		return 0
	}
	return value(&q)
}

// maxInFlight is the watchdog's variable of that name: a replica that would
// refuse a request is better not sent it.
func (p *parser) maxInFlight(vars map[string]string) int {
	v := vars["max_inflight"]
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		p.fail("envVars.max_inflight", "%q is not a number of requests", v)
	}
	return n
}

// stopTimeout is how long the watchdog may need to finish its requests, by its
// own variables.
func (p *parser) stopTimeout(vars map[string]string) time.Duration {
	write := p.duration(vars, "write_timeout", defaultWriteTimeout)
	return p.duration(vars, "healthcheck_interval", 0) + write + stopMargin
}

func (p *parser) duration(vars map[string]string, name string, unset time.Duration) time.Duration {
	v := vars[name]
	if v == "" {
		return unset
	}
	if n, err := strconv.Atoi(v); err == nil && n >= 0 && n < 1<<31 {
		return time.Duration(n) * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		p.fail("envVars."+name, "%q is neither a duration such as 30s nor a number of seconds", v)
		return unset
	}
	return min(d, 1<<31*time.Second)
}

// Package call carries what is known of one request through the handler to the
// models it uses, and what the models did back to the response.
package call

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// Inferer runs the function's models, as api.Client does.
type Inferer interface {
	Infer(ctx context.Context, c api.Call, r *oip.Request) (*oip.Response, api.Info, error)
}

// Call is one request to the function.
type Call struct {
	ID          string // of X-Call-Id
	Traceparent string
	Device      string        // the provider's hint
	SLO         time.Duration // 0: none
	Fallback    string        // what to do while no GPU can answer; "": as the model says
	Models      Inferer       // nil for a function without models
	SecretsDir  string
	// Outer is the request that this one was made for: a handler in a process of
	// its own asks for its models at /v2. nil: none, or not known.
	Outer *Call

	mu      sync.Mutex
	used    bool
	outcome api.Info
}

// New makes the call of a request.
func New(r *http.Request, models Inferer, secretsDir string) *Call {
	h := r.Header
	return &Call{
		ID:          h.Get(api.HeaderCallID),
		Traceparent: h.Get("Traceparent"),
		Device:      h.Get(api.HeaderDeviceHint),
		SLO:         slo(h.Get(api.HeaderSLO)),
		Fallback:    h.Get(api.HeaderFallback),
		Models:      models,
		SecretsDir:  secretsDir,
	}
}

// slo reads the header; one that is no duration is as none.
func slo(v string) time.Duration {
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0
	}
	return max(d, 0)
}

type key struct{}

// With puts a call into a request's context.
func With(ctx context.Context, c *Call) context.Context { return context.WithValue(ctx, key{}, c) }

// From finds the call again; nil if ctx is not that of a request.
func From(ctx context.Context) *Call {
	c, _ := ctx.Value(key{}).(*Call)
	return c
}

// Record adds an inference. Of several the worst cache outcome counts, with its
// device and engine, and their times add up.
func (c *Call) Record(o api.Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := &c.outcome
	if !c.used || badness(o.Cache) > badness(total.Cache) {
		total.Cache, total.Device, total.Engine = o.Cache, o.Device, o.Engine
	}
	total.Queue += o.Queue
	total.Swap += o.Swap
	total.Compute += o.Compute
	c.used = true
}

// Carry gives a request that is made for this one what it lacks of the call.
func (c *Call) Carry(h http.Header) {
	setDefault(h, api.HeaderDeviceHint, c.Device)
	setDefault(h, api.HeaderFallback, c.Fallback)
	setDefault(h, "Traceparent", c.Traceparent)
	if c.SLO > 0 {
		setDefault(h, api.HeaderSLO, c.SLO.String())
	}
}

// WriteHeaders says in a response's headers what the inferences found, if there
// were any. What the handler has set itself stays.
func (c *Call) WriteHeaders(h http.Header) {
	c.mu.Lock()
	used, o := c.used, c.outcome
	c.mu.Unlock()
	if !used {
		return
	}
	setDefault(h, api.HeaderCache, o.Cache)
	setDefault(h, api.HeaderDevice, o.Device)
	setDefault(h, api.HeaderEngine, o.Engine)
	h.Add(api.HeaderTiming, o.Timing.Format())
}

func setDefault(h http.Header, name, value string) {
	if value != "" && h.Get(name) == "" {
		h.Set(name, value)
	}
}

// badness orders the cache outcomes; one that is not known is worst.
func badness(cache string) int {
	for i, c := range []string{api.CacheHit, api.CacheSwap, api.CacheLoad, api.CacheFallback} {
		if c == cache {
			return i
		}
	}
	return 4
}

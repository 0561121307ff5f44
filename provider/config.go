// Package provider is the OpenFaaS provider: the REST API that faas-cli and the
// gateway speak, on a router of its own, and the way of an invocation to a
// replica. It decides nothing about replicas: package runtime runs them, package
// sched picks one for each request.
//
// One file per verb; config.go and routes.go put them together.
package provider

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

// Config of a Provider.
type Config struct {
	Runtime    runtime.Runtime
	Dispatcher *dispatch.Dispatcher
	Upstream   *upstream.Client
	Nodes      *Nodes // of cache managers; nil for none
	// Credentials that /system needs; nil leaves it open.
	Credentials *auth.BasicAuthCredentials
	Version     types.VersionInfo
	Limits      Limits
	// Successor answers the invocations that a Dispatcher which was retired gives
	// back; nil: there is none, and they are refused.
	Successor http.Handler
	Log       *slog.Logger
}

// Limits of an invocation. Those that are 0 get their default.
type Limits struct {
	Body        int64         // largest request body in bytes, 32 MiB
	Buffered    int64         // largest body that is read before it is sent on, 1 MiB
	Budget      int64         // of memory for such bodies, 256 MiB
	BodyTimeout time.Duration // for a client to send the next piece of a body, or to take one, 30 s
	UpgradeIdle time.Duration // longest silence on an upgraded connection, 5 min
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Body:        either(l.Body, 32<<20),
		Buffered:    either(l.Buffered, 1<<20),
		Budget:      either(l.Budget, 256<<20),
		BodyTimeout: either(l.BodyTimeout, 30*time.Second),
		UpgradeIdle: either(l.UpgradeIdle, 5*time.Minute),
	}
}

func either[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Provider answers the API. It is an http.Handler.
type Provider struct {
	cfg     Config
	counts  *counts
	metrics *metrics
	bodies  *bodyPool
	tunnels tunnels
	handler http.Handler
	// serving ends with Close.
	serving context.Context
	close   context.CancelFunc
}

// New makes a Provider.
func New(cfg Config) (*Provider, error) {
	if cfg.Runtime == nil || cfg.Dispatcher == nil || cfg.Upstream == nil || cfg.Log == nil {
		return nil, errors.New("provider: Runtime, Dispatcher, Upstream and Log are needed")
	}
	if cfg.Nodes == nil {
		cfg.Nodes = NewNodes(nil, cfg.Log)
	}
	cfg.Limits = cfg.Limits.withDefaults()
	p := &Provider{cfg: cfg, counts: newCounts(), bodies: newBodyPool(cfg.Limits.Budget)}
	p.serving, p.close = context.WithCancel(context.Background())
	p.metrics = newMetrics(p.counts, cfg.Dispatcher)
	p.handler = p.routes()
	return p, nil
}

// Close ends the answers that would go on until their client leaves: logs that
// are followed. Other requests are answered as before.
func (p *Provider) Close() { p.close() }

// Handlers are the verbs as the OpenFaaS SDK names them, without authentication.
func (p *Provider) Handlers() *types.FaaSHandlers {
	return &types.FaaSHandlers{
		ListNamespaces:  p.listNamespaces,
		MutateNamespace: p.mutateNamespace,
		FunctionProxy:   p.invoke,
		FunctionLister:  p.list,
		DeployFunction:  p.deploy,
		UpdateFunction:  p.update,
		DeleteFunction:  p.delete,
		FunctionStatus:  p.status,
		ScaleFunction:   p.scale,
		Secrets:         p.secrets,
		Logs:            p.logs,
		Health:          p.health,
		Info:            p.info,
	}
}

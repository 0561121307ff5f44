package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/openfaas/faas-provider/auth"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/provider"
	"github.com/faas-gpu/faas-gpu/provider/handover"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/server"
)

// program is the process that serves. Its state is the runtime's: one process at
// a time has it.
type program struct {
	cfg         config
	log         *slog.Logger
	signer      *token.Signer
	credentials *auth.BasicAuthCredentials
	nodes       map[string]provider.NodeClient
	closeNodes  func()

	runtime runtime.Runtime
	server  *server.Server
}

var _ handover.Program = (*program)(nil)

// newProgram does what can be done and can fail while another process serves.
func newProgram(cfg config, log *slog.Logger) (*program, error) {
	p := &program{cfg: cfg, log: log}
	var err error
	if p.signer, err = server.Signer(cfg.keys()); err != nil {
		return nil, err
	}
	if p.credentials, err = cfg.credentials(); err != nil {
		return nil, err
	}
	p.nodes, p.closeNodes, err = server.NodeClients(cfg.nodes, p.signer, log)
	return p, err
}

// Serve: see handover.Program.
func (p *program) Serve(ctx context.Context, listener net.Listener) error {
	rt, err := p.cfg.openRuntime(ctx, server.FunctionTokens(p.signer), p.log)
	if err != nil {
		return err
	}
	p.runtime = rt
	if p.server != nil {
		return p.server.Resume(rt)
	}
	p.server, err = server.Start(server.Config{
		Listener: listener, Runtime: rt, Nodes: p.nodes, Credentials: p.credentials,
		Version: server.Version(), Limits: p.cfg.limits, Log: p.log,
	})
	if err != nil {
		return err
	}
	p.log.Info("serving", "url", "http://"+listener.Addr().String(), "basic_auth", p.credentials != nil, "state_dir", p.cfg.stateDir)
	return nil
}

// Failed: see handover.Program.
func (p *program) Failed() <-chan error {
	if p.server == nil {
		return nil
	}
	return p.server.Failed()
}

// Release: see handover.Program.
func (p *program) Release() error {
	p.server.Release()
	return p.closeRuntime()
}

// Leave: see handover.Program.
func (p *program) Leave(ctx context.Context) error {
	ending, cut := context.WithTimeout(context.Background(), p.cfg.leaveLimit)
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(p.cfg.stopTimeout, cut) })()
	err := p.server.PassOn(ending)
	p.closeNodes()
	return err
}

// Shutdown: see handover.Program.
func (p *program) Shutdown() error {
	ending, cancel := context.WithTimeout(context.Background(), p.cfg.stopTimeout)
	defer cancel()
	var err error
	if p.server != nil {
		err = p.server.Shutdown(ending)
	}
	p.closeNodes()
	return errors.Join(err, p.closeRuntime())
}

func (p *program) closeRuntime() error {
	if p.runtime == nil {
		return nil
	}
	rt := p.runtime
	p.runtime = nil
	return rt.Close()
}

package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"syscall"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt"
	"github.com/faas-gpu/faas-gpu/cachemgr/node"
	"github.com/faas-gpu/faas-gpu/cachemgr/store"
	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/process"
	"github.com/faas-gpu/faas-gpu/provider/server"
)

// Places in the state folder.
func (c Config) images() string { return filepath.Join(c.StateDir, "images") }
func (c Config) keys() string   { return filepath.Join(c.StateDir, "keys") }
func (c Config) run() string    { return filepath.Join(c.StateDir, "run") }
func (c Config) socket() string { return filepath.Join(c.run(), api.SocketOIP) }

// nodeName is what the one node is called, by its cache manager and by the runtime.
const nodeName = "embedded"

// EnvFile is what a shell sources to use the stack. It exists while the stack
// serves.
func (c Config) EnvFile() string { return filepath.Join(c.StateDir, "env") }

// PasswordFile holds the password of the user "admin".
func (c Config) PasswordFile() string { return filepath.Join(c.StateDir, server.PasswordFile) }

// Stack is an installation that serves.
type Stack struct {
	// URL is where the OpenFaaS API and the functions are.
	URL string

	cfg    Config
	log    *slog.Logger
	failed chan error
	undo   []func(context.Context) error // in the order of the start
}

// Start starts a stack; it serves when Start returns, until Stop. ctx bounds the
// start only. An error leaves nothing behind.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Stack, error) {
	s := &Stack{cfg: cfg, log: log, failed: make(chan error, 2)}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.StateDir, 0o700); err != nil {
		return err
	}
	signer, err := server.Signer(s.cfg.keys())
	if err != nil {
		return err
	}
	if err := s.startNode(ctx); err != nil {
		return err
	}
	rt, err := s.startRuntime(server.FunctionTokens(signer))
	if err != nil {
		return err
	}
	if err := s.startProvider(signer, rt); err != nil {
		return err
	}
	s.onStop(func(context.Context) error { return os.Remove(s.cfg.EnvFile()) })
	return writeWhole(s.cfg.EnvFile(), envFile(s.cfg, s.URL))
}

func (s *Stack) startNode(ctx context.Context) error {
	engine, err := onnxrt.New(onnxrt.Options{Library: s.cfg.Library, Threads: s.cfg.Threads, Log: s.log})
	if err != nil {
		return err
	}
	s.onStop(func(context.Context) error { return engine.Close() })

	c := s.cfg.Cache
	c.Engine, c.Log = engine, s.log
	c.Name, c.Version = nodeName, server.Version().Release
	c.Auth, c.TokenPublicKey = node.AuthToken, filepath.Join(s.cfg.keys(), token.PublicFile)
	c.SocketDir, c.StorePath = s.cfg.run(), filepath.Join(s.cfg.StateDir, "store")
	// As many requests at once as keep all processors busy.
	c.Concurrency = 1
	if s.cfg.Threads > 0 {
		c.Concurrency = max(1, goruntime.GOMAXPROCS(0)/s.cfg.Threads)
	}
	n, err := node.Start(ctx, c)
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("another stack runs on the folder %s (%s says where): stop it, or set state_dir to another folder", s.cfg.StateDir, s.cfg.EnvFile())
	}
	if err != nil {
		return err
	}
	s.onStop(n.Shutdown)
	s.watch(n.Failed())
	return nil
}

func (s *Stack) startRuntime(tokens runtime.TokenSource) (runtime.Runtime, error) {
	images, err := image.Open(s.cfg.images())
	if err != nil {
		return nil, err
	}
	rt, err := process.New(process.Config{
		Dir:    filepath.Join(s.cfg.StateDir, "process"),
		Images: images,
		Node:   nodeName,
		Bind:   s.cfg.Bind,
		Environment: map[string]string{
			"PATH":            s.cfg.Path,
			"cachemgr_socket": s.cfg.socket(),
		},
		Tokens: tokens,
		Log:    s.log,
	})
	if err != nil {
		return nil, err
	}
	s.onStop(rt.Stop)
	return rt, nil
}

func (s *Stack) startProvider(signer *token.Signer, rt runtime.Runtime) error {
	credentials, err := server.GenerateCredentials(s.cfg.StateDir)
	if err != nil {
		return err
	}
	nodes, closeNodes, err := server.NodeClients([]string{s.cfg.socket()}, signer, s.log)
	if err != nil {
		return err
	}
	s.onStop(func(context.Context) error { closeNodes(); return nil })
	listener, err := net.Listen("tcp", net.JoinHostPort(s.cfg.Bind, strconv.Itoa(s.cfg.Port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; set port to a free one, such as port=9090, or to 0 for any", err)
	}
	if err != nil {
		return err
	}
	p, err := server.Start(server.Config{
		Listener: listener, Runtime: rt, Nodes: nodes, Credentials: credentials,
		Version: server.Version(), Limits: server.DefaultLimits(), Log: s.log,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.onStop(p.Shutdown)
	s.watch(p.Failed())
	s.URL = "http://" + listener.Addr().String()
	return nil
}

// onStop has Stop call f before what was started earlier is stopped.
func (s *Stack) onStop(f func(context.Context) error) { s.undo = append(s.undo, f) }

// watch passes a part's failure on. A part fails at most once, and the channel
// has room for each of them.
func (s *Stack) watch(part <-chan error) {
	done := make(chan struct{})
	s.onStop(func(context.Context) error { close(done); return nil })
	go func() {
		select {
		case err := <-part:
			s.failed <- err
		case <-done:
		}
	}()
}

// Failed tells when a part of the stack no longer serves; only Stop is left to
// be called then.
func (s *Stack) Failed() <-chan error { return s.failed }

// Stop takes no new requests, waits for those in flight, stops all replicas and
// then everything else. What takes longer than ctx is cut off. Functions,
// secrets, images and models stay in the state folder.
func (s *Stack) Stop(ctx context.Context) error {
	var errs []error
	for i := len(s.undo) - 1; i >= 0; i-- {
		errs = append(errs, s.undo[i](ctx))
	}
	s.undo = nil
	return errors.Join(errs...)
}

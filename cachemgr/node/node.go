package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/server"
	"github.com/faas-gpu/faas-gpu/cachemgr/store"
)

// Bounds of connections that no request is on yet, or any more.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 3 * time.Minute
	maxHeaderBytes = 64 << 10
)

// closeGrace is what the manager has to give all bytes back, once no request is
// left or their time is over.
const closeGrace = 10 * time.Second

// Node is a running cache manager.
type Node struct {
	log     *slog.Logger
	store   *store.Store
	engines *engines
	server  *server.Server

	listeners []*listener
	opened    []opened
	shared    *sharing // nil: there is no folder of sockets
	serving   sync.WaitGroup
	failed    chan error
}

// listener is one of a node's addresses with what serves there.
type listener struct {
	name string
	net.Listener
	http *http.Server
}

// Start starts a node; it serves when Start returns, until Shutdown. ctx bounds
// the start only. An error leaves nothing behind.
func Start(ctx context.Context, c Config) (*Node, error) {
	if c.Engine == nil && c.GPU.Engine == nil || c.Log == nil {
		return nil, errors.New("node: Engine or GPU.Engine, and Log are needed")
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	n := &Node{log: c.Log, failed: make(chan error, 1)}
	if err := n.start(ctx, c); err != nil {
		n.undo()
		return nil, err
	}
	for _, l := range n.listeners {
		n.serving.Go(func() { n.serve(l) })
	}
	if n.shared != nil {
		n.serving.Go(func() { n.shared.serve(n.failed) })
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, c Config) (err error) {
	auth, err := c.auth()
	if err != nil {
		return err
	}
	if n.store, err = store.Open(store.Config{Dir: c.StorePath, Quota: c.StoreQuota, Log: c.Log}); err != nil {
		return err
	}
	if n.engines, err = c.openEngines(ctx); err != nil {
		return err
	}
	pinner, _ := c.GPU.Engine.(engine.Pinner)
	n.server, err = server.New(server.Config{
		Pinner: pinner, Metrics: c.Metrics,
		Manager: n.engines.router, Store: n.store, Auth: auth, Log: c.Log,
		Node: c.Name, Version: c.Version, Platform: c.platform(),
		Limits: server.Limits{
			Body: c.MaxBody, Output: c.MaxOutput, InFlight: c.MaxInFlight,
			Requests: c.QueueDepth, StoreEach: cmp.Or(c.StoreEach, c.StoreQuota/2),
			Shared: c.ShmQuota, SharedEach: c.ShmEach,
			Run: c.RunTimeout, BodyTimeout: c.BodyTimeout, AllowPlans: c.AllowPlans, NoPlans: c.noPlans(),
		},
	})
	if err != nil {
		return err
	}
	return n.listen(c)
}

func (c Config) auth() (server.Auth, error) {
	if c.Auth == AuthNone {
		return server.Everybody{}, nil
	}
	key, err := token.LoadPublic(c.TokenPublicKey)
	if err != nil {
		return nil, fmt.Errorf("token_public_key: %w", err)
	}
	return server.Tokens{Verifier: token.NewVerifier(key, time.Now)}, nil
}

func (c Config) managerConfig(s share, devices []engine.Device) cachemgr.Config {
	m := cachemgr.Config{
		Engine:       s.engine,
		DeviceBudget: defaultBudget,
		HostBudget:   s.hostBudget,
		Concurrency:  s.concurrency,
		QueueDepth:   c.QueueDepth,
		QueueTimeout: c.QueueTimeout,
		Transfers:    c.Transfers,
		NoPrefetch:   c.NoPrefetch,
		BatchDelay:   c.BatchDelay,
		LoadTimeout:  c.LoadTimeout,
		Log:          c.Log,
	}
	c.choosePolicies(&m)
	if s.deviceBudget > 0 {
		m.DeviceBudget = func(engine.Device) int64 { return s.deviceBudget }
	}
	if m.HostBudget == 0 {
		m.HostBudget = defaultHostBudget(devices)
	}
	return m
}

// listen opens every address, so that Start fails where one is taken.
func (n *Node) listen(c Config) error {
	defer c.Sockets.Close()
	add := func(name string, l net.Listener, err error, h http.Handler) error {
		if err == nil {
			n.listeners = append(n.listeners, &listener{name, l, newHTTPServer(h, c)})
		}
		return err
	}
	if !off(c.SocketDir) {
		l, err := n.open(c, "oip", "unix", filepath.Join(c.SocketDir, api.SocketOIP), c.listenUnix)
		if err := add("socket", l, err, n.server); err != nil {
			return err
		}
		if err := n.listenShared(c); err != nil {
			return err
		}
	}
	if !off(c.Listen) {
		l, err := n.listenTCP(c, "listen", c.Listen)
		if err := add("listen", l, err, n.server); err != nil {
			return err
		}
	}
	if !off(c.MetricsListen) {
		l, err := n.listenTCP(c, "metrics_listen", c.MetricsListen)
		return add("metrics", l, err, n.server.Metrics())
	}
	return nil
}

func newHTTPServer(h http.Handler, c Config) *http.Server {
	return &http.Server{
		ConnState:         newConnections(cmp.Or(c.MaxConnections, defaultConnections), c.Log).changed,
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
}

func (n *Node) serve(l *listener) {
	n.log.Info("serving", "what", l.name, "address", l.Addr().String())
	if err := l.http.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
		select {
		case n.failed <- fmt.Errorf("%s: %w", l.name, err):
		default: // one failure is enough to end the node
		}
	}
}

// Failed gets an error if the node can no longer serve; then only Shutdown is
// left to be called.
func (n *Node) Failed() <-chan error { return n.failed }

// Lost is closed when the GPUs were lost: the node goes on with what the CPU can
// stand in for, and gets them back only in another process.
func (n *Node) Lost() <-chan struct{} { return n.engines.router.Lost() }

// Epoch names this run of the node.
func (n *Node) Epoch() string { return n.server.Epoch() }

// Address is where a node serves: "socket" (a path), "listen" or "metrics"; nil
// if it does not.
func (n *Node) Address(name string) net.Addr {
	for _, l := range n.listeners {
		if l.name == name {
			return l.Addr()
		}
	}
	return nil
}

// Handler serves the node's protocol without a listener.
func (n *Node) Handler() http.Handler { return n.server }

// Shutdown stops listening, lets the requests that are under way finish until
// ctx ends, then cuts them off, and gives all memory back.
func (n *Node) Shutdown(ctx context.Context) error {
	n.server.Drain()
	n.engines.router.Drain()
	var requests sync.WaitGroup
	for _, l := range n.listeners {
		requests.Go(func() {
			if err := l.http.Shutdown(ctx); err != nil {
				n.log.Warn("requests cut off at the end", "what", l.name, "error", err)
				_ = l.http.Close() // its connections are gone either way
			}
		})
	}
	requests.Wait()
	n.shared.close()
	n.serving.Wait()
	n.server.Close()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	return errors.Join(n.engines.close(closing), n.store.Close())
}

// undo takes back what a start that failed had opened.
func (n *Node) undo() {
	for _, l := range n.listeners {
		_ = l.Close()
	}
	n.shared.close()
	if n.server != nil {
		n.server.Close()
	}
	if n.engines != nil {
		closing, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		if err := n.engines.close(closing); err != nil {
			n.log.Warn("cache manager not closed", "error", err)
		}
	}
	if n.store != nil {
		_ = n.store.Close()
	}
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/internal/env"
	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/process"
	"github.com/faas-gpu/faas-gpu/provider/server"
)

// ClusterOptions are those of a Cluster.
type ClusterOptions struct {
	// Dir is as in Options.
	Dir   string
	Nodes int
	// Cachemgr and Provider are variables, NAME=VALUE, beside those that the lab
	// needs itself.
	Cachemgr, Provider []string
	// Log is the provider's. Default: nothing is logged.
	Log *slog.Logger
}

// Cluster is several nodes on one machine: each has a cache manager, which is a
// process of its own, and a process runtime; functions run on every node. The
// provider is in this process. What Lab can do with functions a Cluster can do,
// too; its Provider and Cachemgr are nil.
type Cluster struct {
	*Lab
	Nodes []*ClusterNode

	runtime *union
	signer  *token.Signer
	log     *slog.Logger
	undo    []func(context.Context) error
	// stop ends the provider, nil while there is none.
	stop func(context.Context) error
}

// ClusterNode is one node.
type ClusterNode struct {
	Name     string
	Cachemgr *Process

	socket  string
	runtime *process.Runtime
}

// StartCluster starts everything and waits until it serves.
func StartCluster(ctx context.Context, programs *Programs, opt ClusterOptions) (*Cluster, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{Lab: &Lab{
		Programs: programs, Dir: opt.Dir, User: "admin",
		client: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}}
	if err := c.start(ctx, opt); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, opt ClusterOptions) error {
	keys := filepath.Join(opt.Dir, "keys")
	if err := os.MkdirAll(filepath.Join(opt.Dir, "images"), 0o755); err != nil {
		return err
	}
	signer, err := server.Signer(keys)
	if err != nil {
		return err
	}
	images, err := image.Open(filepath.Join(opt.Dir, "images"))
	if err != nil {
		return err
	}
	var parts []runtime.Runtime
	for i := range opt.Nodes {
		n := c.newNode(fmt.Sprintf("node-%d", i), opt)
		if err := n.Cachemgr.start(ctx); err != nil {
			return err
		}
		c.undo = append(c.undo, func(context.Context) error { return n.Cachemgr.Stop() })
		n.runtime, err = process.New(process.Config{
			Dir: filepath.Join(opt.Dir, n.Name, "process"), Images: images, Node: n.Name,
			Environment: map[string]string{"cachemgr_socket": n.socket, "PATH": os.Getenv("PATH")},
			Tokens:      server.FunctionTokens(signer), Log: opt.Log,
		})
		if err != nil {
			return err
		}
		c.undo = append(c.undo, n.runtime.Stop)
		parts = append(parts, n.runtime)
		c.Nodes = append(c.Nodes, n)
	}
	c.runtime, c.signer, c.log = newUnion(parts), signer, opt.Log
	c.undo = append(c.undo, func(context.Context) error { return c.runtime.unfollow() })
	return c.Serve(ctx, opt.Provider...)
}

func (c *Cluster) newNode(name string, opt ClusterOptions) *ClusterNode {
	dir := filepath.Join(opt.Dir, name)
	socket := filepath.Join(dir, api.SocketOIP)
	client := dialUnix(socket)
	return &ClusterNode{Name: name, socket: socket, Cachemgr: &Process{
		program: c.Programs.Cachemgrd, logFile: filepath.Join(opt.Dir, name+".log"),
		environ: append(os.Environ(), append([]string{
			"node_name=" + name, "listen=127.0.0.1:0", "metrics_listen=127.0.0.1:0",
			"socket_dir=" + dir, "store_path=" + filepath.Join(dir, "store"),
			"token_public_key=" + filepath.Join(opt.Dir, "keys", token.PublicFile),
			"onnxruntime_library=" + c.Programs.Runtime, "threads=1",
		}, opt.Cachemgr...)...),
		ready: func(ctx context.Context) error { return c.get(ctx, client, "http://node/v2/health/live") },
	}}
}

// Serve starts the provider with these variables, in place of the one that serves,
// if any. Nodes and functions go on meanwhile.
func (c *Cluster) Serve(ctx context.Context, variables ...string) error {
	set := env.New(variables)
	limits := server.ReadLimits(set)
	if err := set.Err(); err != nil {
		return err
	}
	if err := c.stopServing(ctx); err != nil {
		return err
	}
	var sockets []string
	for _, n := range c.Nodes {
		sockets = append(sockets, n.socket)
	}
	nodes, closeNodes, err := server.NodeClients(sockets, c.signer, c.log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		closeNodes()
		return err
	}
	s, err := server.Start(server.Config{
		Listener: listener, Runtime: c.runtime, Nodes: nodes, Version: server.Version(), Limits: limits, Log: c.log,
	})
	if err != nil {
		closeNodes()
		return errors.Join(err, listener.Close())
	}
	c.stop = func(ctx context.Context) error {
		defer closeNodes()
		return s.Shutdown(ctx)
	}
	c.URL = "http://" + listener.Addr().String()
	return nil
}

func (c *Cluster) stopServing(ctx context.Context) error {
	if c.stop == nil {
		return nil
	}
	stop := c.stop
	c.stop = nil
	c.client.CloseIdleConnections()
	return stop(ctx)
}

// Close ends everything, the functions included.
func (c *Cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	if c.stop != nil {
		errs = append(errs, c.RemoveAll(ctx), c.awaitEnd(ctx), c.stopServing(ctx))
	}
	for i := len(c.undo) - 1; i >= 0; i-- {
		errs = append(errs, c.undo[i](ctx))
	}
	c.client.CloseIdleConnections()
	return errors.Join(errs...)
}

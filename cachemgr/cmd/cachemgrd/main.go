// Program cachemgrd owns the models of one node. Its configuration is its
// environment; `cachemgrd -help` lists it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/faas-gpu/faas-gpu/cachemgr/node"
	"github.com/faas-gpu/faas-gpu/internal/env"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cachemgrd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	set := env.New(environ)
	c := readConfig(set)
	switch {
	case len(args) == 1 && (args[0] == "-help" || args[0] == "--help" || args[0] == "-h"):
		fmt.Fprint(stdout, "cachemgrd owns the models of one node. Its environment:\n\n")
		return set.Usage(stdout)
	case len(args) > 0:
		return fmt.Errorf("unknown argument %q; -help is the only one, everything else is in the environment", args[0])
	}
	if err := set.Err(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	engine, concurrency, err := c.openEngine(log)
	if err != nil {
		return err
	}
	if c.node.Concurrency == 0 {
		c.node.Concurrency = concurrency
	}
	c.node.Engine, c.node.Log, c.node.Version = engine, log, version()
	return serve(ctx, c)
}

// serve runs the node until ctx ends or it fails, and closes its engine.
func serve(ctx context.Context, c config) error {
	n, err := node.Start(ctx, c.node)
	if err != nil {
		return errors.Join(err, c.node.Engine.Close())
	}
	select {
	case <-ctx.Done():
		c.node.Log.Info("shutting down")
	case err = <-n.Failed():
	}
	drain, cancel := context.WithTimeout(context.Background(), c.drain)
	defer cancel()
	if e := n.Shutdown(drain); e != nil {
		// Something still computes: the engine must not be taken from under it.
		return errors.Join(err, e)
	}
	return errors.Join(err, c.node.Engine.Close())
}

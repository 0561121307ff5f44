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
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/node"
	"github.com/faas-gpu/faas-gpu/internal/env"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	if again, ok := errors.AsType[*restartError](err); ok {
		err = restart(again.sockets)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cachemgrd:", err)
		os.Exit(1)
	}
}

const usage = `cachemgrd owns the models of one node.

  cachemgrd               serves
  cachemgrd -check-ready  says whether the one with this environment serves
  cachemgrd -check-gpu    says whether GPUs can be used, and which
  cachemgrd -help         lists its environment:

`

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	set := env.New(environ)
	c := readConfig(set)
	if len(args) == 1 && (args[0] == "-help" || args[0] == "--help" || args[0] == "-h") {
		fmt.Fprint(stdout, usage)
		return set.Usage(stdout)
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	switch { // whatever else is in the environment
	case len(args) == 1 && args[0] == checkGPU:
		return tryGPU(ctx, c, log, stdout)
	case len(args) == 1 && args[0] == checkReady:
		return ready(ctx, c.node.SocketDir)
	case len(args) > 0:
		return fmt.Errorf("unknown arguments %q; -help, %s and %s are the only ones, everything else is in the environment", args, checkGPU, checkReady)
	}
	if err := set.Err(); err != nil {
		return err
	}
	var err error
	if c.node.Sockets, err = node.InheritedSockets(environ); err != nil {
		return err
	}
	c.node.Log, c.node.Version = log, version()
	if err := c.openEngines(environ, log); err != nil {
		return err
	}
	stopTelemetry, err := c.openTelemetry(ctx, "/", log)
	if err != nil {
		return errors.Join(err, c.closeEngines())
	}
	defer stopTelemetry()
	return serve(ctx, c, environ)
}

// serve runs the node until ctx ends, it fails, or it has to begin anew because of
// its GPUs; then it closes the engines.
func serve(ctx context.Context, c config, environ []string) error {
	n, err := node.Start(ctx, c.node)
	if err != nil {
		return errors.Join(err, c.closeEngines())
	}
	began, log := time.Now(), c.node.Log
	var there <-chan struct{}
	if c.node.GPU.Missing != nil {
		there = awaitGPU(ctx, c.look, environ, log)
	}
	select {
	case <-ctx.Done():
		log.Info("shutting down")
	case err = <-n.Failed():
	case <-there:
		log.Info("there is a GPU now: restarting with it")
		err = &restartError{}
	case <-n.Lost():
		log.Warn("restarting to get the GPU back; the CPU stands in until then", "pause", c.pause-time.Since(began))
		err = &restartError{}
		select { // one that is lost again and again must not end every request
		case <-time.After(c.pause - time.Since(began)):
		case <-ctx.Done():
			err = nil
		}
	}
	return finish(n, c, err)
}

// finish lets requests end, and closes the engines if nothing can use them any
// more.
func finish(n *node.Node, c config, err error) error {
	drain, cancel := context.WithTimeout(context.Background(), c.drain)
	defer cancel()
	again, restarts := errors.AsType[*restartError](err)
	if restarts {
		var e error
		if again.sockets, e = n.Sockets(); e != nil {
			c.node.Log.Warn("clients will be refused during the restart", "error", e)
		}
	}
	if e := n.Shutdown(drain); e != nil {
		// Something still computes: the engines must not be taken from under it.
		return errors.Join(err, e)
	}
	if restarts {
		return err // exec gives everything back, also what a lost GPU does not
	}
	return errors.Join(err, c.closeEngines())
}

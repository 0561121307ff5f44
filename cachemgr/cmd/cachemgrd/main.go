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
	"runtime"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt"
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

type config struct {
	node         node.Config
	library      string
	threads      int
	modelLimit   int64
	processLimit int64
	drain        time.Duration
}

func readConfig(s *env.Set) config {
	return config{
		node:         node.ReadConfig(s),
		library:      s.String("onnxruntime_library", "/usr/lib/libonnxruntime.so", "file of ONNX Runtime's library"),
		threads:      s.Int("threads", 0, "threads that compute one request; 0: all processors"),
		modelLimit:   s.Bytes("memory_limit", 0, "bytes that running models may allocate together, beside their weights; 0: half of the host's memory"),
		processLimit: s.Bytes("process_memory_limit", 0, "bytes of private memory of this process, as a last resort: well above the budgets and memory_limit; 0: no limit"),
		drain:        s.Duration("shutdown_timeout", 30*time.Second, "time for requests to finish after SIGTERM"),
	}
}

// engine loads ONNX Runtime under the limits of the configuration.
func (c *config) engine(log *slog.Logger) (*onnxrt.Engine, error) {
	if c.processLimit > 0 {
		if err := onnxrt.LimitMemory(c.processLimit); err != nil {
			return nil, fmt.Errorf("process_memory_limit: %w", err)
		}
	}
	return onnxrt.New(onnxrt.Options{
		Library: c.library, Threads: c.threads,
		MaxOutputBytes: c.node.MaxOutput, MemoryLimit: c.modelLimit, Log: log,
	})
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
	engine, err := c.engine(log)
	if err != nil {
		return err
	}
	if c.node.Concurrency == 0 {
		c.node.Concurrency = concurrency(runtime.GOMAXPROCS(0), c.threads)
	}
	c.node.Engine, c.node.Log, c.node.Version = engine, log, version()
	return serve(ctx, c)
}

// concurrency is how many requests keep all processors busy.
func concurrency(processors, threads int) int {
	if threads == 0 {
		return 1 // one request has them all
	}
	return max(1, processors/threads)
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

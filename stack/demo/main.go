// The command demo runs the project's main job as a person would: it starts the
// embedded stack, makes functions with the unmodified faas-cli, invokes them on
// real scans and in a skewed mix whose models do not fit the cache together, and
// compares every answer, bit by bit, with that of a plain ONNX Runtime session.
// Its last line is "DEMO OK" or "DEMO FAILED" with the figures as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/env"
)

// config says where things are, by absolute paths, and how much is done.
type config struct {
	dir          string // made anew
	source       string // the checkout, as a source of templates
	stack        string // the program of the embedded stack
	cli          string // the program faas-cli
	shims        string // the folder of our docker
	library      string // ONNX Runtime
	requests     int    // of the mix
	clients      int    // that send the mix
	seed         int    // of the mix and of its inputs
	deviceBudget env.Bytes
	hostBudget   env.Bytes
	timeout      time.Duration
}

func readConfig(environ []string) (config, error) {
	set := env.New(environ)
	c := config{
		dir:          set.String("demo_dir", ".build/demo", "folder of the demo, which is emptied first"),
		source:       set.String("FAAS_GPU_SOURCE", ".", "checkout of faas-gpu"),
		stack:        set.String("embedded_stack", ".build/bin/faas-gpu-embedded", "program of the embedded stack"),
		cli:          set.String("FAAS_CLI", ".build/bin/faas-cli", "program faas-cli"),
		shims:        set.String("shims", ".build/shims", "folder of the docker command, first on faas-cli's PATH"),
		library:      set.String("ONNXRUNTIME_LIB", ".build/onnxruntime/libonnxruntime.so", "ONNX Runtime's library"),
		requests:     set.Int("demo_requests", 1000, "requests of the mix"),
		clients:      set.Int("demo_clients", 2, "clients that send the mix"),
		seed:         set.Int("demo_seed", 1, "seed of the mix"),
		deviceBudget: env.Bytes(set.Bytes("demo_device_budget", 56<<20, "bytes of the cache on the device")),
		hostBudget:   env.Bytes(set.Bytes("demo_host_budget", 44<<20, "bytes of the pool in host memory")),
		timeout:      set.Duration("demo_timeout", 10*time.Minute, "the demo gives up after this"),
	}
	if err := set.Err(); err != nil {
		return c, err
	}
	for _, p := range []*string{&c.dir, &c.source, &c.stack, &c.cli, &c.shims, &c.library} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return c, err
		}
		*p = abs
	}
	return c, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Environ(), os.Stdout)
	stop()
	os.Exit(code)
}

// run does everything, and returns the exit status.
func run(ctx context.Context, environ []string, out io.Writer) int {
	cfg, err := readConfig(environ)
	var res result
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
		defer cancel()
		res, err = newDemo(cfg, out).run(ctx)
	}
	if err == nil {
		err = res.check()
	}
	verdict := "OK"
	if err != nil {
		verdict, res.Error = "FAILED", err.Error()
	}
	line, err := json.Marshal(res)
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintf(out, "DEMO %s %s\n", verdict, line)
	if verdict != "OK" {
		return 1
	}
	return 0
}

// Package run puts a watchdog together and runs it as a program.
package run

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/faas-gpu/faas-gpu/internal/env"
	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/logs"
)

// Exit codes; those of a forked function are its own.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitForced = 128 + int(syscall.SIGTERM) // by a second signal
)

// Main is the whole program. handler is nil for a function that is forked.
func Main(kind config.Kind, handler http.Handler) int {
	return program{kind, handler, os.Environ(), os.Stdout, os.Stderr}.main(os.Args)
}

type program struct {
	kind           config.Kind
	handler        http.Handler
	environ        []string
	stdout, stderr *os.File
}

func (p program) main(args []string) int {
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	health := flags.Bool("run-healthcheck", false, "exit 0 if the watchdog of this container takes requests")
	version := flags.Bool("version", false, "print the version")
	err := flags.Parse(args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(p.stdout, "%s [-run-healthcheck | -version | -help]\n\n", args[0])
		if err := config.Usage(p.stdout, p.kind); err != nil {
			return exitFailed
		}
		return exitOK
	case err != nil || flags.NArg() > 0:
		fmt.Fprintf(p.stderr, "%s: arguments %q are not understood; -help lists what is\n", args[0], args[1:])
		return exitUsage
	case *version:
		fmt.Fprintln(p.stdout, buildVersion())
		return exitOK
	case *health:
		return checkHealth(p.environ, p.stderr)
	}
	cfg, err := config.Read(p.environ, p.kind)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitFailed
	}
	return p.serve(cfg)
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// checkHealth looks for the lock file, and needs no valid configuration for it.
func checkHealth(environ []string, stderr io.Writer) int {
	c := config.Config{TempDir: env.New(environ).String("TMPDIR", "/tmp", "")}
	if _, err := os.Stat(c.LockFile()); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return exitOK
}

// serve runs until a signal comes or the function ends.
func (p program) serve(cfg *config.Config) int {
	out, finish, err := p.outputs(cfg)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitFailed
	}
	defer finish()
	ctx, force, stop := signals()
	defer stop()
	w := watchdog{Config: cfg, handler: p.handler, environ: p.environ, out: out, force: force}
	code, err := w.run(ctx)
	if err != nil {
		out.log.Error("the watchdog ends", "error", err)
	}
	return code
}

// outputs are where lines go.
type outputs struct {
	log            *slog.Logger
	lines          logs.Sink // the watchdog's own, of requests
	stdout, stderr logs.Sink // of processes that it starts
	prefix         bool
}

func (p program) outputs(cfg *config.Config) (outputs, func(), error) {
	if cfg.LogFile == "" {
		plain := logs.NewPlain(p.stderr, true)
		return outputs{
			log:    logs.NewLogger(p.stderr, false),
			lines:  plain,
			stdout: logs.NewPlain(p.stdout, cfg.PrefixLogs),
			stderr: logs.NewPlain(p.stderr, cfg.PrefixLogs),
			prefix: cfg.PrefixLogs,
		}, func() {}, nil
	}
	file, finish, err := logs.Capture(cfg.LogFile, cfg.LogBufferSize)
	if err != nil {
		return outputs{}, nil, err
	}
	return outputs{
		log:    logs.NewLogger(file, true),
		lines:  file,
		stdout: file,
		stderr: file,
		prefix: cfg.PrefixLogs,
	}, finish, nil
}

// signals gives a context that ends with the first request to end, and a channel
// that is closed by the second.
func signals() (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	force, stopped := make(chan struct{}), make(chan struct{})
	in := make(chan os.Signal, 2)
	signal.Notify(in, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for _, act := range []func(){cancel, func() { close(force) }} {
			select {
			case <-in:
				act()
			case <-stopped:
				return
			}
		}
	}()
	return ctx, force, func() {
		signal.Stop(in)
		close(stopped)
		cancel()
	}
}

// Command gpu-provider is the OpenFaaS provider.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/faas-gpu/faas-gpu/provider/handover"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := command(ctx, os.Args, os.Environ(), os.Stdout, os.Stderr)
	if child := (*handover.ExitError)(nil); errors.As(err, &child) && child.Status.Exited() {
		os.Exit(child.Status.ExitStatus()) // it has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gpu-provider:", err)
		os.Exit(1)
	}
}

// command is the program with its name and arguments.
func command(ctx context.Context, args, environ []string, stdout io.Writer, logTo *os.File) error {
	switch {
	case len(args) == 1:
		return run(ctx, args, environ, slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: logLevel(environ)})))
	case len(args) == 2 && (args[1] == "-help" || args[1] == "--help" || args[1] == "-h"):
		fmt.Fprintf(stdout, "gpu-provider is the OpenFaaS provider; with %s it says whether the one with this\nenvironment serves. Its environment:\n\n", checkReady)
		return usage(stdout)
	case len(args) == 2 && args[1] == checkReady:
		cfg, err := readConfig(environ)
		if err != nil {
			return err
		}
		return ready(ctx, cfg.bind, cfg.port)
	}
	return fmt.Errorf("unknown argument %q; -help and %s are the only ones, everything else is in the environment", args[1], checkReady)
}

// run is the program as the parent process or as the one that serves: see package
// handover.
func run(ctx context.Context, args, environ []string, log *slog.Logger) error {
	cfg, err := readConfig(environ)
	if err != nil {
		return err
	}
	child, err := handover.Inherit(environ)
	if err != nil {
		return err
	}
	if child != nil {
		p, err := newProgram(cfg, log)
		if err != nil {
			return err
		}
		return child.Run(ctx, p)
	}
	restart := make(chan os.Signal, 1)
	signal.Notify(restart, syscall.SIGUSR2)
	defer signal.Stop(restart)
	// What is at this path when a restart is asked for is started then.
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.address())
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; set port to a free one, such as port=8081, or to 0 for any", err)
	}
	if err != nil {
		return err
	}
	defer listener.Close()
	parent := handover.Parent{Path: path, Args: args, Environ: environ, Listener: listener.(*net.TCPListener), Log: log}
	return parent.Run(ctx, restart)
}

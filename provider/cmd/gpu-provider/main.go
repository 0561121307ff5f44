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
	"os/signal"
	"syscall"

	"github.com/faas-gpu/faas-gpu/provider/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gpu-provider:", err)
		os.Exit(1)
	}
}

// command is the program with its arguments.
func command(ctx context.Context, args, environ []string, stdout io.Writer, logTo *os.File) error {
	switch {
	case len(args) == 0:
		return run(ctx, environ, logTo)
	case len(args) == 1 && (args[0] == "-help" || args[0] == "--help" || args[0] == "-h"):
		fmt.Fprint(stdout, "gpu-provider is the OpenFaaS provider. Its environment:\n\n")
		return usage(stdout)
	}
	return fmt.Errorf("unknown argument %q; -help is the only one, everything else is in the environment", args[0])
}

// run serves until ctx ends.
func run(ctx context.Context, environ []string, logTo *os.File) error {
	cfg, err := readConfig(environ)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(logTo, nil))
	signer, err := server.Signer(cfg.keys())
	if err != nil {
		return err
	}
	credentials, err := cfg.credentials()
	if err != nil {
		return err
	}
	nodes, closeNodes, err := server.NodeClients(cfg.nodes, signer, log)
	if err != nil {
		return err
	}
	defer closeNodes()
	rt, err := cfg.openRuntime(ctx, server.FunctionTokens(signer), log)
	if err != nil {
		return err
	}
	defer rt.Close()
	listener, err := net.Listen("tcp", cfg.address())
	if err != nil {
		return err
	}
	s, err := server.Start(server.Config{
		Listener: listener, Runtime: rt, Nodes: nodes, Credentials: credentials,
		Version: server.Version(), Limits: cfg.limits, Log: log,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	log.Info("serving", "url", "http://"+listener.Addr().String(), "basic_auth", credentials != nil, "state_dir", cfg.stateDir)
	select {
	case <-ctx.Done():
	case err = <-s.Failed():
	}
	ending, cancel := context.WithTimeout(context.Background(), cfg.stopTimeout)
	defer cancel()
	return errors.Join(err, s.Shutdown(ending))
}

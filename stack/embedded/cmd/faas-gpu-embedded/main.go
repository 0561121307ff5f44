// Command faas-gpu-embedded keeps an embedded stack running until it is told to
// stop: by Ctrl-C, SIGTERM, or the end of its terminal. Its configuration is its
// environment; `faas-gpu-embedded -help` lists it.
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

	"github.com/faas-gpu/faas-gpu/stack/embedded"
)

func main() {
	// SIGHUP is a terminal that was closed: functions are not to outlive it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// What cannot be written any more (Ctrl-C in `make up | tee log` ends tee, too)
	// must not end this program before the functions, nor must SIGHUP, which a
	// shell may send again.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP)
	// A second Ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "faas-gpu-embedded:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	switch {
	case len(args) == 1 && (args[0] == "-help" || args[0] == "--help" || args[0] == "-h"):
		fmt.Fprint(stdout, "The whole of faas-gpu in one process. Its environment:\n\n")
		return embedded.Usage(stdout)
	case len(args) > 0:
		return fmt.Errorf("unknown argument %q; -help is the only one, everything else is in the environment", args[0])
	}
	cfg, err := embedded.ReadConfig(environ)
	if err != nil {
		return err
	}
	s, err := embedded.Start(ctx, cfg, slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		return err
	}
	greet(stdout, cfg, s.URL)
	select {
	case <-ctx.Done():
		fmt.Fprintln(stdout, "Stopping; functions, secrets and models are kept.")
	case err = <-s.Failed():
	}
	stopping, cancel := context.WithTimeout(context.Background(), cfg.StopTimeout)
	defer cancel()
	return errors.Join(err, s.Stop(stopping))
}

// greet says what to type next.
func greet(w io.Writer, cfg embedded.Config, url string) {
	fmt.Fprintf(w, `
faas-gpu serves at %s
user admin, password in %s

In another shell:

  . %[3]s
  faas-cli login --password-stdin < %[2]s
  mkdir -p ~/functions && cd ~/functions
  faas-cli template pull %[4]s
  faas-cli new --lang go-trt digits
  faas-cli up --skip-push
  faas-cli invoke digits --content-type image/png < digits/digit.png
  curl $OPENFAAS_URL/function/digits/_/cache
  curl -u admin:$(cat %[2]s) $OPENFAAS_URL/system/gpu
  faas-cli logs digits

Functions run as processes of this machine, without isolation: for development.
Ctrl-C stops everything and keeps what is deployed.

`, url, cfg.PasswordFile(), cfg.EnvFile(), sourceOr(cfg.Source, "PATH_OF_FAAS_GPU"))
}

func sourceOr(source, placeholder string) string {
	if source == "" {
		return placeholder
	}
	return source
}

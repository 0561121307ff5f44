package run

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// watchdog is one run of the program.
type watchdog struct {
	*config.Config
	handler http.Handler // nil: forked
	environ []string
	out     outputs
	force   <-chan struct{} // closed: end at once
}

// run serves until ctx ends or the function does, and returns the exit code.
func (w *watchdog) run(ctx context.Context) (int, error) {
	listener, err := net.Listen("tcp", w.Address())
	if err != nil {
		return exitFailed, fmt.Errorf("port: %w", err)
	}
	defer listener.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	stopMetrics, err := w.serveMetrics(registry)
	if err != nil {
		return exitFailed, err
	}
	defer stopMetrics()

	m, err := w.startModels(ctx, registry)
	if err != nil {
		return exitFailed, err
	}
	defer m.close(w.force)
	f, err := w.startFunction(m)
	if err != nil {
		return exitFailed, err
	}
	defer f.close()

	options := server.Options{
		Config: w.Config, Function: f.handler, Forked: f.elsewhere, Listening: f.listening,
		Log: w.out.log, Lines: w.out.lines, Registry: registry,
	}
	if m != nil {
		options.Models = m
	}
	w.out.log.Info("listening", "mode", w.mode(), "address", listener.Addr().String(), "read_timeout", w.ReadTimeout.String(),
		"write_timeout", w.WriteTimeout.String(), "exec_timeout", w.ExecTimeout.String())
	return w.serve(ctx, server.New(options), listener, f)
}

// mode is what answers, as the log says it.
func (w *watchdog) mode() string {
	if w.handler != nil {
		return "inproc"
	}
	return w.Mode
}

// serve returns when the requests are done with and the function has ended.
func (w *watchdog) serve(ctx context.Context, s *server.Server, ln net.Listener, f *function) (int, error) {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-f.done:
			stop()
		case <-serving.Done():
		}
	})
	err := s.Run(serving, ln, w.force)
	stop()
	watch.Wait()
	select {
	case <-f.done:
		return f.process.ExitCode(), fmt.Errorf("the function's server has ended with code %d", f.process.ExitCode())
	default:
	}
	// Only now, when nothing is asked of it any more.
	f.stop(w.WriteTimeout, w.force)
	switch {
	case err != nil:
		return exitFailed, err
	case closed(w.force):
		return exitForced, nil
	}
	return exitOK, nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// serveMetrics serves the registry at /metrics until stop is called.
func (w *watchdog) serveMetrics(registry *prometheus.Registry) (stop func(), err error) {
	ln, err := net.Listen("tcp", w.MetricsAddress())
	if err != nil {
		return nil, fmt.Errorf("metrics_port: %w", err)
	}
	srv := &http.Server{Handler: server.MetricsHandler(registry), ReadTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) }) // it ends with Close
	return func() {
		srv.Close()
		serving.Wait()
	}, nil
}

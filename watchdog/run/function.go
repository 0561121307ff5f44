package run

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/child"
	"github.com/faas-gpu/faas-gpu/watchdog/upstream"
)

// function is what answers the requests.
type function struct {
	handler   http.Handler
	listening func() error
	// done is closed when its process has ended; a handler in this process has
	// none, and done is nil.
	done    <-chan struct{}
	process *child.Process
	cleanup func()
}

// startFunction starts the process of a forked function.
func (w *watchdog) startFunction() (*function, error) {
	if w.handler != nil {
		return &function{handler: w.handler, listening: func() error { return nil }, cleanup: func() {}}, nil
	}
	target, err := upstream.PickPort(w.Upstream)
	if err != nil {
		return nil, err
	}
	process, err := child.Start(child.Command{
		Args:    w.Command,
		Environ: append(slices.Clone(w.environ), "upstream_url="+target.String(), "http_upstream_url="+target.String()),
		Stdout:  w.out.stdout, Stderr: w.out.stderr,
		MaxLine: w.LogBufferSize, Prefix: w.out.prefix,
	})
	if err != nil {
		return nil, err
	}
	w.out.log.Info("forked", "command", w.Command, "pid", process.Pid(), "upstream_url", target.String())
	u := upstream.New(target, w.BufferRequests)
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { u.Watch(ctx) })
	return &function{
		handler: u, listening: u.Listening, done: process.Done(), process: process,
		cleanup: func() {
			cancel()
			watch.Wait()
			u.Close()
		},
	}, nil
}

// stop asks the process to end and kills it after grace, or when force is
// closed.
func (f *function) stop(grace time.Duration, force <-chan struct{}) {
	if f.process != nil {
		f.process.Stop(grace, force)
	}
}

// close makes sure that nothing of it is left.
func (f *function) close() {
	f.stop(0, nil)
	f.cleanup()
}

package run

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/child"
	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/fork"
	"github.com/faas-gpu/faas-gpu/watchdog/static"
	"github.com/faas-gpu/faas-gpu/watchdog/upstream"
)

// function is what answers the requests.
type function struct {
	handler http.Handler
	// listening, if not nil, says whether it takes requests.
	listening func() error
	// done is closed when its server has ended; a function that has none cannot end
	// before the watchdog, and done is nil.
	done    <-chan struct{}
	process *child.Process
	// elsewhere: it asks for its models from another process.
	elsewhere bool
	cleanup   func()
}

// startFunction starts what answers, in the mode that is configured. m is nil for
// a function without models.
func (w *watchdog) startFunction(m *functionModels) (*function, error) {
	if w.handler != nil {
		return &function{handler: w.handler, cleanup: func() {}}, nil
	}
	switch w.Mode {
	case config.ModeHTTP:
		return w.startServer()
	case config.ModeStatic:
		files, err := static.New(w.StaticPath)
		if err != nil {
			return nil, err
		}
		return &function{handler: files, cleanup: files.Close}, nil
	case config.ModeModel:
		if m == nil {
			return nil, errors.New("mode=model: there is no model: put it at " + w.ModelsPath + "/NAME/VERSION/model.onnx")
		}
		return &function{handler: http.HandlerFunc(m.ServeOnly), cleanup: func() {}}, nil
	}
	return w.prepareFork()
}

// startServer starts the function's own HTTP server.
func (w *watchdog) startServer() (*function, error) {
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
	var buffer int64
	if w.BufferBody {
		buffer = w.MaxBuffered
	}
	u := upstream.New(target, buffer, w.UpgradeIdle)
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { u.Watch(ctx) })
	return &function{
		handler: u, listening: u.Listening, done: process.Done(), process: process, elsewhere: true,
		cleanup: func() {
			cancel()
			watch.Wait()
			u.Close()
		},
	}, nil
}

// prepareFork makes ready to start a process for each request.
func (w *watchdog) prepareFork() (*function, error) {
	options := fork.Options{
		Command: w.Command, Environ: w.environ, ContentType: w.ContentType,
		Stderr: w.out.stderr, MaxLine: w.LogBufferSize, Prefix: w.out.prefix,
	}
	if w.Mode == config.ModeSerializing {
		options.Whole = w.MaxBuffered
	}
	h, err := fork.New(options)
	if err != nil {
		return nil, err
	}
	return &function{handler: h, elsewhere: true, cleanup: h.Close}, nil
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

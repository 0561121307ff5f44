// Package fork is of-watchdog's modes streaming and serializing: every request
// gets a process of its own, which reads the body from its standard input and
// prints the answer. In streaming both flow while it runs; in serializing it is
// started when the body is there, and answered for when it has ended, so that its
// exit code decides the status.
package fork

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/child"
	"github.com/faas-gpu/faas-gpu/watchdog/forward"
	"github.com/faas-gpu/faas-gpu/watchdog/logs"
)

// lateOutput is how long output is still read after a process has ended, for the
// case that another one, which left its group, has the pipe open.
const lateOutput = 100 * time.Millisecond

// Options are what a Handler is made of.
type Options struct {
	Command []string
	Environ []string
	// ContentType is that of all answers.
	ContentType string
	// Whole, if not 0, is the mode serializing, and the most bytes that a body may
	// have either way.
	Whole int64
	// Stderr takes what processes print there, in lines of MaxLine bytes at most.
	Stderr  logs.Sink
	MaxLine int
	Prefix  bool
}

// Handler answers each request with a process.
type Handler struct {
	Options
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	buffers forward.Buffers
	mu      sync.Mutex // guards closed against running
	closed  bool
	running sync.WaitGroup
}

// New makes a handler. The command must be there.
func New(o Options) (*Handler, error) {
	if _, err := exec.LookPath(o.Command[0]); err != nil {
		return nil, fmt.Errorf("fprocess: %w", err)
	}
	h := &Handler{Options: o}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// Close kills what still runs and returns when it is gone.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.running.Wait()
}

// ServeHTTP runs the command for one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.running.Add(1)
	}
	h.mu.Unlock()
	if closed {
		answer(w, http.StatusServiceUnavailable, "this replica ends")
		return
	}
	defer h.running.Done()
	if strings.IndexByte(r.URL.Path, 0) >= 0 {
		answer(w, http.StatusBadRequest, "the path has a zero byte, which a process cannot be told")
		return
	}
	if h.Whole > 0 {
		h.serialize(w, r)
	} else {
		h.stream(w, r)
	}
}

// run is a process that answers a request.
type run struct {
	*child.Process
	stdin, stdout *os.File // ours
	release       func()   // ends the watch over the request
}

// start starts the command. It is killed when the request's context or the
// handler ends.
func (h *Handler) start(r *http.Request) (*run, error) {
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	stdout, out, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, err
	}
	defer out.Close()
	p, err := child.Start(child.Command{
		Args: h.Command, Environ: environ(h.Environ, r), In: in, Out: out,
		Stderr: h.Stderr, MaxLine: h.MaxLine, Prefix: h.Prefix,
	})
	if err != nil {
		stdin.Close()
		stdout.Close()
		return nil, err
	}
	stopRequest := context.AfterFunc(r.Context(), p.Kill)
	stopHandler := context.AfterFunc(h.ctx, p.Kill)
	return &run{p, stdin, stdout, func() { stopRequest(); stopHandler() }}, nil
}

// watch bounds the waiting for output once the process has ended.
func (p *run) watch(group *sync.WaitGroup) {
	group.Go(func() {
		<-p.Done()
		p.stdout.SetReadDeadline(time.Now().Add(lateOutput))
	})
}

// Read reads its output. The time that watch has set may have passed while the
// client took what was read before; so it is given once more, from now.
func (p *run) Read(b []byte) (int, error) {
	n, err := p.stdout.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	p.stdout.SetReadDeadline(time.Now().Add(lateOutput))
	n, err = p.stdout.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

// end kills what still runs, and returns when nothing of it is left.
func (p *run) end() {
	p.release()
	p.Kill()
	p.stdin.Close()
	p.stdout.Close()
	<-p.Done()
}

// failure is why a process that has ended did not answer, nil if it did.
func (p *run) failure() error {
	switch {
	case p.Signal() != 0:
		return &ended{http.StatusBadGateway, fmt.Sprintf("the function's process was killed by signal %d (%v)", int(p.Signal()), p.Signal())}
	case p.ExitCode() != 0:
		return &ended{http.StatusInternalServerError, fmt.Sprintf("the function's process exited with code %d; the log has what it said", p.ExitCode())}
	}
	return nil
}

// ended is an answer in the place of a process.
type ended struct {
	status int
	text   string
}

func (e *ended) Error() string { return e.text }

// httpStatus says what a failed process is to the client.
func httpStatus(err error) int {
	if e, ok := errors.AsType[*ended](err); ok {
		return e.status
	}
	switch {
	case errors.Is(err, syscall.E2BIG):
		return http.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return http.StatusServiceUnavailable // a limit of the container, reached for now
	}
	return http.StatusInternalServerError
}

// fail answers for a process that did not; over is why the request has ended, if
// it has. That its time is over is the caller's to say, and a client that has gone
// reads nothing; but one whose body broke off may still read why.
func (h *Handler) fail(w http.ResponseWriter, over, err error) {
	switch {
	case errors.Is(over, context.DeadlineExceeded):
	case over != nil && httpStatus(err) >= http.StatusInternalServerError:
	case h.ctx.Err() != nil:
		answer(w, http.StatusServiceUnavailable, "this replica ends, and its time to finish requests is over")
	case errors.Is(err, syscall.E2BIG):
		answer(w, httpStatus(err), "the request's head is too large for the environment of a process")
	default:
		if httpStatus(err) == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		answer(w, httpStatus(err), err.Error())
	}
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("X-Openfaas-Internal", "of-watchdog")
	http.Error(w, text, code)
}

package fork

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/forward"
	"github.com/faas-gpu/faas-gpu/watchdog/whole"
)

// stream answers while the process runs. Once the head is out, a process that
// fails breaks the connection off: half an answer must not look like a whole one.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	p, err := h.start(r)
	if err != nil {
		h.fail(w, r.Context().Err(), err)
		return
	}
	w, r = forward.Duplex(w, r)
	w.Header().Set("Content-Type", h.ContentType)
	sent, over, err := h.converse(w, r, p)
	switch {
	case err == nil && sent:
	case err == nil:
		w.WriteHeader(http.StatusOK) // of a process that printed nothing
	case sent:
		panic(http.ErrAbortHandler)
	default:
		h.fail(w, over, err)
	}
}

// converse passes the body to the process and its output to the client. sent
// says whether the answer has begun, over why the request had ended, if it had.
func (h *Handler) converse(w http.ResponseWriter, r *http.Request, p *run) (sent bool, over, err error) {
	var beside sync.WaitGroup
	p.watch(&beside)
	in := &input{p: p}
	if r.ContentLength == 0 {
		in.finish(nil)
		p.stdin.Close()
	} else {
		beside.Go(func() {
			buf := h.buffers.Get()
			defer h.buffers.Put(buf)
			in.copy(r.Body, buf)
		})
	}
	buf := h.buffers.Get()
	defer h.buffers.Put(buf)
	if sent, err = copyOutput(w, p, buf); err == nil {
		<-p.Done()
		err = p.failure()
	}
	// To interrupt the reading of a body is to end its request.
	if over = r.Context().Err(); over != nil && err == nil {
		err = over
	}
	p.end()
	in.interrupt(http.NewResponseController(w))
	beside.Wait()
	if bodyErr := in.broken(); bodyErr != nil {
		err = bodyErr
	}
	return sent, over, err
}

// copyOutput sends what is printed as soon as it is there.
func copyOutput(w http.ResponseWriter, output io.Reader, buf []byte) (sent bool, err error) {
	rc := http.NewResponseController(w)
	for {
		n, err := output.Read(buf)
		if n > 0 {
			if !sent {
				w.WriteHeader(http.StatusOK)
				sent = true
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return sent, err
			}
			if err := rc.Flush(); err != nil {
				return sent, err
			}
		}
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}

// input passes a request's body to a process.
type input struct {
	p  *run
	mu sync.Mutex // guards what follows
	// ended: nothing is read any more; gone: nobody wants it any more.
	ended, gone bool
	err         error
}

// copy returns when the body has ended, when the process does not read on, or
// when it is interrupted. Of a body that breaks off the process must not take a
// part for the whole: it is killed before it sees the end.
func (in *input) copy(body io.Reader, buf []byte) {
	defer in.p.stdin.Close()
	for {
		n, err := body.Read(buf)
		if _, writeErr := in.p.stdin.Write(buf[:n]); writeErr != nil {
			in.finish(nil) // a process need not read its input
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			in.finish(nil)
			return
		case err != nil:
			in.finish(err)
			return
		}
	}
}

func (in *input) finish(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	if err != nil && !in.gone {
		status, text := whole.Broken(err)
		in.err = &ended{status, text}
		in.p.Kill()
	}
}

// interrupt ends the copying, which may wait for the client.
func (in *input) interrupt(rc *http.ResponseController) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.gone = true
	if !in.ended {
		rc.SetReadDeadline(time.Unix(1, 0))
	}
}

// broken is why the body broke off, if it did.
func (in *input) broken() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

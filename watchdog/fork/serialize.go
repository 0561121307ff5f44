package fork

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/faas-gpu/faas-gpu/watchdog/whole"
)

// serialize answers when the process has ended.
func (h *Handler) serialize(w http.ResponseWriter, r *http.Request) {
	body, ok := whole.Read(w, r, h.Whole)
	if !ok {
		return
	}
	output, err := h.exchange(r, body)
	if err != nil {
		h.fail(w, r.Context().Err(), err)
		return
	}
	w.Header().Set("Content-Type", h.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(output)))
	w.Write(output)
}

// exchange runs the process with body as its input and returns its output.
func (h *Handler) exchange(r *http.Request, body []byte) ([]byte, error) {
	p, err := h.start(r)
	if err != nil {
		return nil, err
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	defer p.end()
	p.watch(&beside)
	beside.Go(func() {
		// A process need not read its input: that it did not is no error.
		io.Copy(p.stdin, bytes.NewReader(body))
		p.stdin.Close()
	})
	output, err := io.ReadAll(io.LimitReader(p, h.Whole+1))
	if int64(len(output)) > h.Whole {
		return nil, &ended{http.StatusInternalServerError, fmt.Sprintf("the function printed more than the %d bytes that max_buffered allows; mode=streaming has no limit", h.Whole)}
	}
	if err != nil {
		return nil, fmt.Errorf("the function's output: %w", err)
	}
	<-p.Done()
	return output, p.failure()
}

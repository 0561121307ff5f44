package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Longest bodies of the small JSON messages, in bytes.
const (
	smallBody      = 1 << 20
	referencesBody = 64 << 20 // one line for each function there is
)

// bodyRate is how fast a body has to come at least, in bytes per second.
const bodyRate = 1 << 20

// expectBody bounds the time for a body of size bytes, so that a client that
// never sends it holds nothing for long. It also covers what net/http reads of a
// body that no handler wanted.
func (s *Server) expectBody(w http.ResponseWriter, size int64) {
	allowed := s.limits.BodyTimeout + time.Duration(size/bodyRate)*time.Second
	setReadDeadline(w, time.Now().Add(allowed))
}

// bodySize is how long a request's body is, at most.
func (s *Server) bodySize(r *http.Request) int64 {
	if r.ContentLength < 0 {
		return s.limits.Body
	}
	return min(r.ContentLength, s.limits.Body) // what is longer is refused
}

// bodyDone lifts the bound of expectBody: the connection is now only watched for
// the client's leaving.
func bodyDone(w http.ResponseWriter) { setReadDeadline(w, time.Time{}) }

// setReadDeadline has no effect where there is no connection (in tests).
func setReadDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t)
}

// socketBuffer is what the kernel takes of an answer without waiting for the
// client.
const socketBuffer = 64 << 10

// write sends a body of size bytes; a client that does not take it in time is
// cut off. Errors are the client's leaving: there is nobody to tell.
func (s *Server) write(w http.ResponseWriter, size int64, writeTo func(io.Writer) (int64, error)) {
	if size <= socketBuffer {
		_, _ = writeTo(w)
		return
	}
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Now().Add(s.limits.BodyTimeout + time.Duration(size/bodyRate)*time.Second))
	if _, err := writeTo(w); err == nil && conn.Flush() == nil {
		_ = conn.SetWriteDeadline(time.Time{})
	}
}

// readJSON reads a whole small body into v; an empty one leaves v as it is.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			return fmt.Errorf("%w: at most %d bytes are taken", errBodyTooLarge, limit)
		}
		return fmt.Errorf("the body could not be read: %w", err)
	}
	bodyDone(w)
	if len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: the body is not the JSON expected: %v", errBadRequest, err)
	}
	return nil
}

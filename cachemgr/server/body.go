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
	setReadDeadline(w, time.Now().Add(s.timeFor(size)))
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

// expectTaken bounds the time that the client has to take an answer of size
// bytes; one that does not is cut off. It holds until the next answer on the
// connection, so it also covers what net/http sends after the handler.
func (s *Server) expectTaken(w http.ResponseWriter, size int64) {
	setWriteDeadline(w, time.Now().Add(s.timeFor(size)))
}

// expectTakenAfterBody is expectTaken where part of the body may be left:
// net/http waits for that before it sends the answer.
func (s *Server) expectTakenAfterBody(w http.ResponseWriter, size int64) {
	setWriteDeadline(w, time.Now().Add(s.timeFor(s.limits.Body)+s.timeFor(size)))
}

// timeFor is how long size bytes may take from or to a client.
func (s *Server) timeFor(size int64) time.Duration {
	return s.limits.BodyTimeout + time.Duration(size/bodyRate)*time.Second
}

// setWriteDeadline has no effect where there is no connection (in tests).
func setWriteDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetWriteDeadline(t)
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

// Package whole reads a request's body to its end before anything is done with
// it.
package whole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// Read reads r's body of at most limit bytes. Where that fails it answers, 413 or
// 400, and ok is false.
func Read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, ok bool) {
	if r.ContentLength > limit {
		tooLarge(w, limit)
		return nil, false
	}
	body, err := readAll(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	var larger *http.MaxBytesError
	switch {
	case errors.As(err, &larger):
		tooLarge(w, limit)
		return nil, false
	case errors.Is(r.Context().Err(), context.DeadlineExceeded):
		return nil, false // the caller answers for that
	case err != nil:
		status, text := Broken(err)
		answer(w, status, text)
		return nil, false
	}
	return body, true
}

// Broken says what a body that broke off with err is to its client.
func Broken(err error) (status int, text string) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return http.StatusRequestTimeout, "the request body took longer than read_timeout allows"
	}
	return http.StatusBadRequest, "the request body ends too early: " + err.Error()
}

// readAll allocates once where the length is known.
func readAll(r io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(r)
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return body, err
}

func tooLarge(w http.ResponseWriter, limit int64) {
	answer(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request body is larger than the %d bytes that max_buffered allows", limit))
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("X-Openfaas-Internal", "of-watchdog")
	http.Error(w, text, code)
}

package watchdog

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/attach"
)

// Kinds of InferError, for errors.Is.
var (
	// ErrBadInput: the model does not take these inputs.
	ErrBadInput = errors.New("the model does not take this input")
	// ErrUnavailable: not now; another try may succeed.
	ErrUnavailable = errors.New("the model is not available now")
	// ErrTimeout: the request's time was over.
	ErrTimeout = errors.New("the model did not answer in time")
)

// retryLater is what a client is told to wait where nothing better is known.
const retryLater = time.Second

// InferError is why an inference failed.
type InferError struct {
	Model string
	// Status is the HTTP status that tells a client the truth about it: 400, 413,
	// 500, 503 or 504.
	Status int
	// RetryAfter is set with 503.
	RetryAfter time.Duration
	Err        error
}

// Error names the model once: as a rule the cache manager's own words do.
func (e *InferError) Error() string {
	text := e.Err.Error()
	if answer, ok := e.Err.(*api.Error); ok && answer.Message != "" {
		text = answer.Message
	}
	if name := strconv.Quote(e.Model); !strings.Contains(text, name) {
		text = "model " + name + ": " + text
	}
	return text
}

func (e *InferError) Unwrap() error { return e.Err }

// Is tells the kinds apart.
func (e *InferError) Is(kind error) bool {
	switch kind {
	case ErrBadInput:
		return e.Status == http.StatusBadRequest || e.Status == http.StatusRequestEntityTooLarge
	case ErrUnavailable:
		return e.Status == http.StatusServiceUnavailable
	case ErrTimeout:
		return e.Status == http.StatusGatewayTimeout
	}
	return false
}

func newInferError(model string, err error) *InferError {
	e := &InferError{Model: model, Status: httpStatus(err), Err: err}
	if e.Status == http.StatusServiceUnavailable {
		e.RetryAfter = retryLater
		if answer, ok := errors.AsType[*api.Error](err); ok && answer.RetryAfter > 0 {
			e.RetryAfter = answer.RetryAfter
		}
	}
	return e
}

// httpStatus says what a failed inference is to the function's client. What only
// the function or the installation can have got wrong is not the client's fault:
// a model that is not there is 500, a token that is refused 503.
func httpStatus(err error) int {
	answer, ok := errors.AsType[*api.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, ErrBadInput):
		return http.StatusBadRequest
	case errors.Is(err, attach.ErrUnavailable), errors.Is(err, api.ErrUnreachable), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	case !ok:
		return http.StatusInternalServerError
	}
	switch answer.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return answer.Status
	case http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusForbidden:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Error answers a request with a failed inference: the status that tells the
// truth, Retry-After where another try may help, and {"error": ...}. Any other
// error is a 500.
func Error(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*InferError](err); ok {
		status = e.Status
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
		}
	}
	text, _ := json.Marshal(struct {
		Error string `json:"error"`
	}{err.Error()}) // a string can always be encoded
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client's loss
}

package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

var (
	// errBadRequest is in errors about requests to /system.
	errBadRequest = errors.New("bad request")
	errTooLarge   = errors.New("request body too large")
	errSlowBody   = errors.New("the request body did not come in time")
	errShortBody  = errors.New("the request body ended early")
)

func notFound(id runtime.ID) error { return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound) }

// statusClientGone is what the log and the metrics say of a request whose client
// has left. It is never sent.
const statusClientGone = 499

// httpStatus is the status that says err.
func httpStatus(err error) int {
	if _, late := tooLate(err); late {
		return http.StatusServiceUnavailable
	}
	switch {
	case errors.Is(err, runtime.ErrNotFound), errors.Is(err, dispatch.ErrUnknownFunction):
		return http.StatusNotFound
	case errors.Is(err, runtime.ErrExists), errors.Is(err, runtime.ErrInUse):
		return http.StatusConflict
	case errors.Is(err, runtime.ErrInvalid), errors.Is(err, function.ErrInvalid), errors.Is(err, errBadRequest),
		errors.Is(err, errShortBody):
		return http.StatusBadRequest
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errSlowBody):
		return http.StatusRequestTimeout
	case errors.Is(err, dispatch.ErrQueueFull):
		return http.StatusTooManyRequests
	case errors.Is(err, dispatch.ErrTimeout), errors.Is(err, dispatch.ErrNoReplica), errors.Is(err, dispatch.ErrRetired),
		errors.Is(err, dispatch.ErrFailing):
		return http.StatusServiceUnavailable
	case errors.Is(err, dispatch.ErrUnreachable), errors.Is(err, upstream.ErrFailed), errors.Is(err, upstream.ErrNotSent):
		return http.StatusBadGateway
	case errors.Is(err, upstream.ErrTimeout):
		return http.StatusGatewayTimeout
	case errors.Is(err, upstream.ErrBody):
		return http.StatusBadRequest
	case errors.Is(err, context.Canceled):
		return statusClientGone
	}
	return http.StatusInternalServerError
}

// fail answers a request to /system with err.
func (p *Provider) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := httpStatus(err)
	if status == http.StatusInternalServerError {
		p.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	http.Error(w, err.Error(), status)
}

// Limits of the body of a request to /system.
const (
	maxSystemBody     = 1 << 20 // bytes
	systemBodyTimeout = 30 * time.Second
)

// readBody reads the body of a request to /system.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(systemBodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSystemBody))
	if err != nil {
		w.Header().Set("Connection", "close") // the rest is not waited for
		return nil, bodyError(err, systemBodyTimeout)
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// readJSON reads the body of a request to /system into v. Fields that v lacks are
// left out.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: the body is not the JSON that is wanted: %w", errBadRequest, err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// namespaceOf is the namespace that a request names in its body or, as some
// clients do, in its query.
func namespaceOf(r *http.Request, inBody string) string {
	if inBody != "" {
		return inBody
	}
	return either(r.URL.Query().Get("namespace"), function.DefaultNamespace)
}

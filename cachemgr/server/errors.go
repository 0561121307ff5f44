package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/server/region"
	"github.com/faas-gpu/faas-gpu/cachemgr/store"
)

// Errors of the server itself; each is wrapped with what happened.
var (
	errBadRequest   = errors.New("bad request")
	errUnauthorized = errors.New("unauthorized")
	errForbidden    = errors.New("forbidden")
	errNoRoute      = errors.New("no such route")
	errMethod       = errors.New("method not allowed")
	errNotOffered   = errors.New("not offered")
	errBodyTooLarge = errors.New("body too large")
	errNotReady     = errors.New("not ready")
	errBusy         = errors.New("too much in flight")
	// The size of an output may depend on the input: asking again is no use.
	errOutputTooLarge = errors.New("outputs too large")
)

// statusClientGone is for the metrics: nobody reads the answer.
const statusClientGone = 499

// retryAfter is how long a caller is told to wait, in whole seconds: until a
// model that failed is tried again or its engine may be built, else 1; queues here
// empty within seconds.
func retryAfter(err error, now time.Time) int {
	var at time.Time
	if f := (*cachemgr.FailedError)(nil); errors.As(err, &f) {
		at = f.RetryAt
	}
	if b := (*cachemgr.BuildingError)(nil); errors.As(err, &b) {
		at = b.RetryAt
	}
	return max(1, int(math.Ceil(at.Sub(now).Seconds())))
}

// httpStatus is the one place where errors become statuses. A model that can
// never be loaded is the deployment's fault, not the caller's, hence 500.
func httpStatus(err error) int {
	for _, m := range statusOf {
		if errors.Is(err, m.err) {
			return m.status
		}
	}
	return http.StatusInternalServerError
}

// statusOf is searched in order: a model that failed because its file is bad is
// a bad model, one whose loading took too long failed.
var statusOf = []struct {
	err    error
	status int
}{
	{cachemgr.ErrUnknownModel, http.StatusNotFound},
	{cachemgr.ErrTooLarge, http.StatusInternalServerError},
	{cachemgr.ErrBuilding, http.StatusServiceUnavailable},
	{engine.ErrBadModel, http.StatusInternalServerError},
	{cachemgr.ErrFailed, http.StatusServiceUnavailable},

	{context.Canceled, statusClientGone},
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
	{engine.ErrBadInput, http.StatusBadRequest},
	{cachemgr.ErrOverloaded, http.StatusServiceUnavailable},
	{cachemgr.ErrClosed, http.StatusServiceUnavailable},
	{engine.ErrNoMemory, http.StatusServiceUnavailable},
	{engine.ErrDeviceLost, http.StatusServiceUnavailable},
	{engine.ErrUnavailable, http.StatusServiceUnavailable},

	{errBadRequest, http.StatusBadRequest},
	{errUnauthorized, http.StatusUnauthorized},
	{errForbidden, http.StatusForbidden},
	{errNoRoute, http.StatusNotFound},
	{errMethod, http.StatusMethodNotAllowed},
	{errNotOffered, http.StatusServiceUnavailable}, // offering again helps
	{errBodyTooLarge, http.StatusRequestEntityTooLarge},
	{errNotReady, http.StatusServiceUnavailable},
	{errBusy, http.StatusServiceUnavailable},
	{errOutputTooLarge, http.StatusInternalServerError},

	{region.ErrUnknown, http.StatusGone}, // not 404: the model is there
	{region.ErrRange, http.StatusBadRequest},

	{oip.ErrMalformed, http.StatusBadRequest},
	{oip.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{oip.ErrNotText, http.StatusBadRequest},

	{store.ErrInvalid, http.StatusBadRequest},
	{store.ErrMismatch, http.StatusBadRequest},
	{store.ErrStale, http.StatusConflict},
	{store.ErrGone, http.StatusForbidden},
	{store.ErrNotFound, http.StatusServiceUnavailable}, // deleted since the offer
	{store.ErrQuota, http.StatusInsufficientStorage},
	{store.ErrFull, http.StatusInsufficientStorage},

	{os.ErrDeadlineExceeded, http.StatusRequestTimeout}, // the body did not come
	{io.ErrUnexpectedEOF, http.StatusBadRequest},
}

// fail answers with the error body of the Open Inference Protocol.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := httpStatus(err)
	if status == statusClientGone && r.Context().Err() == nil {
		status = http.StatusServiceUnavailable // not the client, but a part of the node ended it
	}
	level := slog.LevelDebug // refusals are counted, and may be many
	if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
		level = slog.LevelWarn
	}
	if s.log.Enabled(r.Context(), level) {
		s.log.Log(r.Context(), level, "request failed", "method", r.Method, "path", r.URL.Path, "status", status,
			"call_id", r.Header.Get(api.HeaderCallID), "error", err)
	}
	h := w.Header()
	switch status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter(err, time.Now())))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="faas-gpu"`)
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		h.Set("Connection", "close") // the rest of the body is not wanted
	}
	s.writeJSON(w, status, oip.ErrorBody{Error: err.Error()})
}

// writeJSON answers with a small document. An error in writing is the client's
// leaving: there is nobody to tell.
func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	s.expectTakenAfterBody(w, int64(len(body)))
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body)
}

var jsonType = []string{"application/json"}

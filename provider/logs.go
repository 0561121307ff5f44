package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// logs answers GET /system/logs with one JSON object per line, as they come. It
// ends when there are no more lines or, if they are followed, when the client
// leaves or the provider closes.
func (p *Provider) logs(w http.ResponseWriter, r *http.Request) {
	q, err := parseLogQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	q.Namespace = namespaceOf(r, q.Namespace)
	id := runtime.ID{Namespace: q.Namespace, Name: q.Name}
	if p.cfg.Runtime.Snapshot().Functions[id] == nil {
		p.fail(w, r, notFound(id))
		return
	}
	out := logWriter{w: w, flush: http.NewResponseController(w).Flush, follow: q.Follow}
	out.encoder = json.NewEncoder(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	if q.Follow {
		// The client is to know at once that it listens.
		out.flush()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if q.Follow {
		defer context.AfterFunc(p.serving, cancel)()
	}
	err = p.cfg.Runtime.Logs(ctx, q, out.emit)
	switch {
	case err == nil || ctx.Err() != nil:
	case out.lines == 0 && !q.Follow:
		w.Header().Del("Content-Type")
		p.fail(w, r, err)
	default:
		p.cfg.Log.Error("logs broke off", "function", id.String(), "error", err)
		panic(http.ErrAbortHandler) // the client must not take it for the end
	}
}

// logWriter writes lines to a client.
type logWriter struct {
	w       http.ResponseWriter
	encoder *json.Encoder
	flush   func() error
	follow  bool
	lines   int
}

func (l *logWriter) emit(m logs.Message) error {
	l.lines++
	if err := l.encoder.Encode(m); err != nil {
		return err
	}
	if l.follow {
		return l.flush()
	}
	return nil
}

func parseLogQuery(v url.Values) (logs.Request, error) {
	q := logs.Request{Name: v.Get("name"), Namespace: v.Get("namespace"), Instance: v.Get("instance"), Tail: -1}
	if q.Name == "" {
		return q, fmt.Errorf("name: it is missing; the name of a function is needed")
	}
	if tail := v.Get("tail"); tail != "" {
		n, err := strconv.Atoi(tail)
		if err != nil {
			return q, fmt.Errorf("tail: %q is not a number of lines", tail)
		}
		q.Tail = n
	}
	if follow := v.Get("follow"); follow != "" {
		b, err := strconv.ParseBool(follow)
		if err != nil {
			return q, fmt.Errorf("follow: %q is neither true nor false", follow)
		}
		q.Follow = b
	}
	if since := v.Get("since"); since != "" {
		at, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return q, fmt.Errorf("since: %q is not a time such as 2006-01-02T15:04:05Z", since)
		}
		q.Since = &at
	}
	return q, nil
}

package attach

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// maxForgotten is how often a request is sent again because the cache manager
// did not know the model.
const maxForgotten = 3

// Infer runs one of the function's models, as api.Client does. ErrUnavailable
// beside its errors.
func (a *Attachment) Infer(ctx context.Context, c api.Call, r *oip.Request) (*oip.Response, api.Info, error) {
	if !a.has(c.Model, c.Version) {
		return nil, api.Info{}, a.unknown(c.Model, c.Version)
	}
	var wait waiting
	defer wait.stop()
	for forgotten := 0; ; {
		s := a.state.Load()
		if s == nil {
			var err error
			if s, err = a.attached(wait.context(ctx, a.Wait)); err != nil {
				return nil, api.Info{}, orCause(ctx, err)
			}
		}
		if reason := a.refusal(s, c.Model, c.Version); reason != "" {
			return nil, api.Info{}, refused(c.Model, reason)
		}
		resp, info, err := a.Client.Infer(ctx, c, r)
		switch {
		case err == nil:
			a.seen(s, info.Epoch)
			a.metrics.inferred(c.Model, info.Cache)
			return resp, info, nil
		case api.IsUnknownModel(err) && forgotten < maxForgotten:
			forgotten++
			a.lost(s, err)
		case neverSent(err) && ctx.Err() == nil && !wait.over():
			a.lost(s, err)
		default:
			a.metrics.inferred(c.Model, "error")
			return nil, api.Info{}, err
		}
	}
}

// waiting bounds all waits of one request together. Most requests do not wait,
// and then it costs nothing.
type waiting struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func (w *waiting) context(parent context.Context, limit time.Duration) context.Context {
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithTimeout(parent, limit)
	}
	return w.ctx
}

// over reports that the request may not wait any more.
func (w *waiting) over() bool { return w.ctx != nil && w.ctx.Err() != nil }

func (w *waiting) stop() {
	if w.cancel != nil {
		w.cancel()
	}
}

// orCause prefers the end of the request itself to what it waited for.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// unknown and refused are answers that the cache manager would give, too.
func (a *Attachment) unknown(model, version string) *api.Error {
	message := fmt.Sprintf("this function has no model %q; it has %s", model, strings.Join(a.Models.Names(), ", "))
	if version != "" && a.has(model, "") {
		message = fmt.Sprintf("this function has no version %q of model %q; it has %s", version, model, strings.Join(a.versions(model), ", "))
	}
	return &api.Error{Status: http.StatusNotFound, Message: message}
}

// versions of a model, as the folder has them.
func (a *Attachment) versions(model string) []string {
	var versions []string
	for _, o := range a.offer.Models {
		if o.Name == model {
			versions = append(versions, o.Version)
		}
	}
	return versions
}

func refused(model, reason string) *api.Error {
	return &api.Error{Status: http.StatusInternalServerError, Message: fmt.Sprintf("model %q was refused: %s", model, reason)}
}

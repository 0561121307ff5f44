package watchdog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/watchdog/attach"
	"github.com/faas-gpu/faas-gpu/watchdog/call"
)

// inferer answers with its inputs, or with an error.
type inferer struct {
	got api.Call
	err error
}

func (i *inferer) Infer(_ context.Context, c api.Call, r *oip.Request) (*oip.Response, api.Info, error) {
	i.got = c
	if i.err != nil {
		return nil, api.Info{}, i.err
	}
	return &oip.Response{Outputs: r.Inputs}, api.Info{Cache: api.CacheHit, Device: "cpu"}, nil
}

func contextWith(models call.Inferer) (context.Context, *call.Call) {
	r := httptest.NewRequest("POST", "/", nil)
	for name, value := range map[string]string{"X-Call-Id": "id", "Traceparent": "tp", api.HeaderDeviceHint: "gpu1", api.HeaderSLO: "80ms", api.HeaderFallback: "wait"} {
		r.Header.Set(name, value)
	}
	c := call.New(r, models, "")
	return call.With(r.Context(), c), c
}

var input = NewTensor("x", []int64{1, 2}, []float32{1, 2})

func TestInferCarriesTheCallAndRecordsTheOutcome(t *testing.T) {
	models := &inferer{}
	ctx, c := contextWith(models)
	out, err := Model("digits").Version("2").Infer(ctx, input)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Data[float32](out, "x"); err != nil || got[1] != 2 {
		t.Errorf("outputs are %v, %v", got, err)
	}
	want := api.Call{Model: "digits", Version: "2", Device: "gpu1", SLO: 80 * time.Millisecond, Fallback: "wait", CallID: "id", Traceparent: "tp"}
	if models.got != want {
		t.Errorf("call is %+v", models.got)
	}
	h := http.Header{}
	c.WriteHeaders(h)
	if h.Get(api.HeaderCache) != "hit" {
		t.Errorf("headers are %v", h)
	}
}

func TestInferErrors(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		kind   error
		retry  time.Duration
	}{
		{&api.Error{Status: 400, Message: "shape"}, 400, ErrBadInput, 0},
		{&api.Error{Status: 413}, 413, ErrBadInput, 0},
		{&api.Error{Status: 503, RetryAfter: 7 * time.Second}, 503, ErrUnavailable, 7 * time.Second},
		{&api.Error{Status: 503}, 503, ErrUnavailable, time.Second},
		{&api.Error{Status: 429}, 503, ErrUnavailable, time.Second},
		{&api.Error{Status: 401}, 503, ErrUnavailable, time.Second},
		{&api.Error{Status: 504}, 504, ErrTimeout, 0},
		{&api.Error{Status: 404}, 500, nil, 0},
		{&api.Error{Status: 507}, 500, nil, 0},
		{fmt.Errorf("wait: %w", attach.ErrUnavailable), 503, ErrUnavailable, time.Second},
		{fmt.Errorf("x: %w", api.ErrUnreachable), 503, ErrUnavailable, time.Second},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 504, ErrTimeout, 0},
		{context.Canceled, 503, ErrUnavailable, time.Second},
		{errors.New("bug"), 500, nil, 0},
	} {
		ctx, _ := contextWith(&inferer{err: tc.err})
		_, err := Model("digits").Infer(ctx, input)
		e, ok := errors.AsType[*InferError](err)
		if !ok || e.Status != tc.status || e.RetryAfter != tc.retry || !errors.Is(err, tc.err) {
			t.Errorf("%v became %+v", tc.err, e)
		}
		for _, kind := range []error{ErrBadInput, ErrUnavailable, ErrTimeout} {
			if errors.Is(err, kind) != (kind == tc.kind) {
				t.Errorf("%v: is %v: %v", tc.err, kind, errors.Is(err, kind))
			}
		}
		w := httptest.NewRecorder()
		Error(w, err)
		var body struct{ Error string }
		json.Unmarshal(w.Body.Bytes(), &body)
		if w.Code != tc.status || !strings.HasPrefix(body.Error, `model "digits": `) || (w.Header().Get("Retry-After") != "") != (tc.retry > 0) {
			t.Errorf("%v was answered with %d, %v, %s", tc.err, w.Code, w.Header(), w.Body)
		}
	}
}

func TestInferErrorNamesTheModelOnce(t *testing.T) {
	for want, err := range map[string]error{
		`model "m": bad input: shape [4]`:          &api.Error{Status: 400, Message: `model "m": bad input: shape [4]`},
		`this function has no model "m"; it has n`: &api.Error{Status: 404, Message: `this function has no model "m"; it has n`},
		`model "m": unauthorized`:                  &api.Error{Status: 401, Message: "unauthorized"},
		`model "m": a wait: cache manager: full (status 503)`: fmt.Errorf("a wait: %w",
			&api.Error{Status: 503, Message: "full"}),
	} {
		if got := newInferError("m", err).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestErrorOfAnotherKind(t *testing.T) {
	w := httptest.NewRecorder()
	Error(w, errors.New(`no output "x"`))
	if w.Code != 500 || w.Body.String() != `{"error":"no output \"x\""}` {
		t.Errorf("answered %d, %s", w.Code, w.Body)
	}
}

func TestInferWithoutARequestOrModels(t *testing.T) {
	if _, err := Model("m").Infer(context.Background(), input); err == nil || !strings.Contains(err.Error(), "r.Context()") {
		t.Errorf("error is %v", err)
	}
	ctx, _ := contextWith(nil)
	if _, err := Model("m").Infer(ctx, input); err == nil || !strings.Contains(err.Error(), "models/NAME/VERSION") {
		t.Errorf("error is %v", err)
	}
}

func TestInputsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		in   Tensor
		want string
	}{
		{NewTensor("x", []int64{1, 3}, []float32{1, 2}), `input "x": shape [1 3] of FP32 needs 12 bytes, the data has 8`},
		{NewTensor("x", []int64{-1}, []float32{1}), "negative"},
		{Tensor{Name: "x", Datatype: "FP8", Shape: []int64{1}}, "FP8"},
	} {
		ctx, _ := contextWith(&inferer{})
		_, err := Model("m").Infer(ctx, tc.in)
		if !errors.Is(err, ErrBadInput) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error is %v, want %q", err, tc.want)
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("value\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := call.With(context.Background(), &call.Call{SecretsDir: dir})
	if v, err := Secret(ctx, "key"); err != nil || string(v) != "value\n" {
		t.Errorf("got %q, %v", v, err)
	}
	for name, want := range map[string]string{
		"": "not a name", "..": "not a name", "../" + filepath.Base(dir) + "/key": "not a name", "a/b": "not a name", "other": "not deployed with it",
	} {
		if v, err := Secret(ctx, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %q, %v", name, v, err)
		}
	}
	if _, err := Secret(context.Background(), "key"); err == nil {
		t.Error("a context that is not of a request has secrets")
	}
}

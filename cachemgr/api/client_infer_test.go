package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// echo answers an inference with its inputs, called as the outputs asked for.
func echo(t testing.TB, seen func(*http.Request)) http.HandlerFunc {
	codec := oip.NewCodec(32 << 20)
	return func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		headerLength, err := strconv.ParseInt(r.Header.Get(oip.HeaderLength), 10, 64)
		if err != nil {
			t.Error(err)
		}
		req, err := codec.ReadRequest(r.Body, r.ContentLength, headerLength)
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		defer req.Release()
		out := &oip.Response{Model: "m", Version: "1", ID: req.ID, Outputs: req.Inputs}
		for i, o := range req.Outputs {
			out.Outputs[i].Name = o.Name
		}
		m, err := codec.EncodeResponse(out, req.WantsBinary)
		if err != nil {
			t.Error(err)
			return
		}
		defer m.Release()
		h := w.Header()
		h.Set("Content-Length", strconv.FormatInt(m.Size(), 10))
		h.Set(oip.HeaderLength, strconv.FormatInt(m.HeaderSize(), 10))
		h.Set(HeaderCache, CacheHit)
		h.Set(HeaderDevice, "cpu")
		h.Set(HeaderEngine, "onnxruntime")
		h.Set(HeaderEpoch, "e1")
		h.Set(HeaderTiming, Timing{Queue: 10 * time.Microsecond, Compute: 731 * time.Microsecond}.Format())
		m.WriteTo(w)
	}
}

func input(size int) *oip.Request {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7)
	}
	return &oip.Request{
		ID:      "9",
		Inputs:  []tensor.Tensor{{Name: "x", Datatype: tensor.Uint8, Shape: []int64{int64(size)}, Data: data}},
		Outputs: []oip.Output{{Name: "y", Into: make([]byte, size)}},
	}
}

func TestInfer(t *testing.T) {
	for _, network := range []string{"unix", "tcp", "tls"} {
		for _, size := range []int{1, 1000, 602112, 5 << 20} {
			c := serve(t, network, echo(t, nil))
			for range 3 {
				r := input(size)
				out, info, err := c.Infer(t.Context(), Call{Model: "m"}, r)
				if err != nil {
					t.Fatal(err)
				}
				y := out.Output("y")
				if y == nil || !bytes.Equal(y.Data, r.Inputs[0].Data) || out.ID != "9" {
					t.Fatalf("%s, %d bytes: the answer is wrong", network, size)
				}
				if unsafe.SliceData(y.Data) != unsafe.SliceData(r.Outputs[0].Into) {
					t.Errorf("%s, %d bytes: the output is not in the caller's buffer", network, size)
				}
				want := Info{Cache: CacheHit, Device: "cpu", Engine: "onnxruntime", Epoch: "e1", Timing: Timing{Queue: 10 * time.Microsecond, Compute: 731 * time.Microsecond}}
				if info != want {
					t.Errorf("info %+v", info)
				}
				out.Release()
			}
		}
	}
}

func TestInferCarriesTheCall(t *testing.T) {
	var got *http.Request
	c := serve(t, "unix", echo(t, func(r *http.Request) { got = r }))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	call := Call{Model: "m", Version: "3", Device: "cpu", SLO: 80 * time.Millisecond, CallID: "id-1", Traceparent: "00-1-2-01"}
	r := input(10)
	r.Outputs = nil
	out, _, err := c.Infer(ctx, call, r)
	if err != nil {
		t.Fatal(err)
	}
	out.Release()
	for name, want := range map[string]string{
		HeaderDeviceHint: "cpu", HeaderSLO: "80ms", HeaderCallID: "id-1", "Traceparent": "00-1-2-01",
		"Authorization": "Bearer secret", "Content-Type": oip.ContentBinary, "Idempotency-Key": "",
	} {
		if g := got.Header.Get(name); g != want {
			t.Errorf("%s is %q, want %q", name, g, want)
		}
	}
	if d, err := time.ParseDuration(got.Header.Get(HeaderDeadline)); err != nil || d <= 0 || d > time.Hour {
		t.Errorf("deadline %q", got.Header.Get(HeaderDeadline))
	}
	if got.URL.Path != "/v2/models/m/versions/3/infer" || got.ContentLength <= 10 {
		t.Errorf("path %s, length %d", got.URL.Path, got.ContentLength)
	}
	if r.BinaryOutputs {
		t.Error("the caller's request was changed")
	}
}

func TestInferAtOnce(t *testing.T) {
	c := serve(t, "unix", echo(t, nil))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 10 {
				r := input(1000 * (i + 1))
				out, _, err := c.Infer(t.Context(), Call{Model: "m"}, r)
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(out.Outputs[0].Data, r.Inputs[0].Data) {
					t.Error("one request got another's answer")
				}
				out.Release()
			}
		})
	}
	wg.Wait()
}

// When Infer has returned, the inputs belong to the caller again, also if the
// answer came before they were read: the race detector watches the transport.
func TestInputsAreFreeAfterAnEarlyAnswer(t *testing.T) {
	c := serve(t, "unix", answer(http.StatusRequestEntityTooLarge, `{"error":"too large"}`))
	r := input(8 << 20)
	for range 5 {
		if _, _, err := c.Infer(t.Context(), Call{Model: "m"}, r); err == nil {
			t.Error("a refusal is no error")
		}
		clear(r.Inputs[0].Data)
	}
	ctx, cancel := context.WithCancel(t.Context())
	slow := serve(t, "unix", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		io.Copy(io.Discard, r.Body) // until the connection is gone
	}))
	if _, _, err := slow.Infer(ctx, Call{Model: "m"}, r); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
	clear(r.Inputs[0].Data)
}

func TestAnswersThatAreNoInference(t *testing.T) {
	cutOff := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"outputs":[`)
		panic(http.ErrAbortHandler)
	}
	badHeader := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(oip.HeaderLength, "x")
		answer(200, "{}")(w, r)
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		is      func(error) bool
	}{
		"cut off":    {cutOff, func(err error) bool { return errors.Is(err, ErrUnreachable) }},
		"not ours":   {answer(200, "hello"), func(err error) bool { return errors.Is(err, oip.ErrMalformed) && !IsUnavailable(err) }},
		"bad length": {badHeader, func(err error) bool { e, ok := errors.AsType[*Error](err); return ok && e.Status == 502 }},
	} {
		c := serve(t, "unix", tt.handler)
		if _, _, err := c.Infer(t.Context(), Call{Model: "m"}, input(10)); !tt.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInferThatCannotBeSent(t *testing.T) {
	c, err := NewClient(ClientConfig{Address: t.TempDir() + "/none.sock", Token: func() string { return "a\nb" }})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Infer(t.Context(), Call{Model: "m"}, input(10)); err == nil || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("a token that is no header: %v", err)
	}
}

func TestTiming(t *testing.T) {
	timing := Timing{Queue: 10 * time.Microsecond, Swap: 2 * time.Second, Compute: 731 * time.Microsecond}
	text := "queue;dur=0.010, swap;dur=2000.000, compute;dur=0.731"
	if got := timing.Format(); got != text {
		t.Errorf("formatted as %q", got)
	}
	if got := ParseTiming(text); got != timing {
		t.Errorf("parsed as %+v", got)
	}
	for _, odd := range []string{"", ",,", "queue", "queue;dur=x", "queue;dur=-1", "queue;dur=NaN", "queue;dur=1e300", "other;dur=3"} {
		if got := ParseTiming(odd); got != (Timing{}) {
			t.Errorf("%q is parsed as %+v", odd, got)
		}
	}
}

func BenchmarkInfer(b *testing.B) {
	for _, size := range []int{1 << 10, 602112} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			c := serve(b, "unix", echo(b, nil))
			r := input(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				out, _, err := c.Infer(b.Context(), Call{Model: "m"}, r)
				if err != nil {
					b.Fatal(err)
				}
				out.Release()
			}
		})
	}
}

// BenchmarkFloor is what the same bytes cost between plain net/http ends.
func BenchmarkFloor(b *testing.B) {
	for _, size := range []int{1 << 10, 602112} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			c := serve(b, "unix", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
				data := make([]byte, r.ContentLength)
				if _, err := io.ReadFull(r.Body, data); err != nil {
					b.Error(err)
				}
				w.Write(data)
			}))
			in, out := make([]byte, size), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.http.Post("http://cachemgr/", "text/plain", bytes.NewReader(in))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(resp.Body, out); err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
			}
		})
	}
}

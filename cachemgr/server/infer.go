package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// infer answers one inference for a model of the caller.
func (s *Server) infer(w http.ResponseWriter, r *http.Request, c Caller) error {
	arrived := time.Now()
	e, err := s.model(r, c)
	if err != nil {
		return err
	}
	e.stats.pending.Add(1)
	defer e.stats.pending.Add(-1)
	call := &call{server: s, entry: e, arrived: arrived, slo: e.slo}
	err = call.serve(w, r)
	e.stats.ended(call.slo, time.Since(arrived), err)
	if err != nil {
		e.stats.failedWith(err, time.Since(arrived))
		return err
	}
	return nil
}

// call is one inference on its way through the server.
type call struct {
	server  *Server
	entry   *entry
	arrived time.Time
	slo     time.Duration // zero is no objective

	reserved int64 // of Server.memory
	request  *oip.Request
	shared   shared
	spec     *fileSpec
	outputs  outputs
	result   cachemgr.Result
	timing   timing
}

// reserve takes n bytes of the memory for requests, until the end of the call.
func (c *call) reserve(n int64) error {
	if err := c.server.memory.take(c.entry.function, n, c.reserved); err != nil {
		return err
	}
	c.reserved += n
	return nil
}

func (c *call) serve(w http.ResponseWriter, r *http.Request) error {
	limit, err := timeLeft(r.Header, c.server.limits.Run)
	if err != nil {
		return err
	}
	if err := c.server.memory.begin(c.entry.function); err != nil {
		return err
	}
	defer func() { c.server.memory.end(c.entry.function, c.reserved) }()
	if err := c.reserve(c.server.requestRoom(r)); err != nil {
		return err
	}
	if c.request, err = c.server.readRequest(w, r); err != nil {
		return err
	}
	defer c.request.Release()
	ctx, cancel := context.WithDeadline(r.Context(), c.arrived.Add(limit))
	defer cancel()
	defer func() { c.outputs.release() }()
	defer c.shared.release()
	if err := c.attach(); err != nil {
		return err
	}
	ask, err := c.ask(r.Header)
	if err != nil {
		return err
	}
	if err := c.run(ctx, ask); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("model %q: no answer within %v: %w", c.entry.offer.Name, limit, err)
		}
		return fmt.Errorf("model %q: %w", c.entry.offer.Name, err)
	}
	return c.answer(w)
}

// run computes; ctx ends it.
func (c *call) run(ctx context.Context, ask cachemgr.Request) (err error) {
	begin := time.Now()
	if c.spec, err = c.server.specOf(ctx, c.entry.file); err != nil {
		return err
	}
	read := time.Since(begin) // of the model, where nothing was known of it yet
	if err := checkInputs(c.spec.Spec, c.request.Inputs); err != nil {
		return err
	}
	if err := c.place(); err != nil {
		return err
	}
	c.timing.input = time.Since(c.arrived) - read
	ask.In, ask.Out, ask.Shared = c.request.Inputs, c.outputs.tensors, c.shared.used()
	c.result, err = c.server.manager.Infer(ctx, ask)
	if err != nil {
		return err
	}
	c.timing.queue, c.timing.compute = c.result.Queue, c.result.Compute
	c.timing.swap = c.result.Swap
	if c.result.Outcome == api.CacheLoad {
		c.timing.swap += read
	}
	if err := c.outputs.check(c.server.limits.Output); err != nil {
		return err
	}
	if err := c.reserve(c.outputs.allocated()); err != nil {
		return err
	}
	return c.outputs.settle()
}

// place finds memory for the outputs.
func (c *call) place() error {
	picked, room, elsewhere, err := c.server.pick(c.spec, c.request.Outputs)
	if err != nil {
		return err
	}
	// The engine may need a copy of what is in shared memory.
	if err := c.reserve(room + elsewhere); err != nil {
		return err
	}
	c.outputs = newOutputs(c.spec, picked, c.request.Outputs, c.server.codec.Buffers.Get(int(room)))
	return c.attachOutputs(picked)
}

// answer encodes the outputs and counts the request.
func (c *call) answer(w http.ResponseWriter) error {
	s, offer := c.server, &c.entry.offer
	begin := time.Now()
	response := &oip.Response{Model: offer.Name, Version: offer.Version, ID: c.request.ID, Outputs: c.outputs.tensors, Places: c.outputs.places}
	if err := c.reserve(response.TextRoom(c.request.WantsBinary)); err != nil {
		return fmt.Errorf("outputs as JSON: %w", err)
	}
	m, err := s.codec.EncodeResponse(response, c.request.WantsBinary)
	if err != nil {
		return fmt.Errorf("output %w", err)
	}
	defer m.Release()
	c.setHeaders(w.Header(), m)
	now := time.Now()
	c.timing.output, c.timing.total = now.Sub(begin), now.Sub(c.arrived)
	if c.result.Lead {
		c.entry.stats.executions.Add(1)
	}
	c.entry.stats.succeeded(now, c.rows(), c.result.Outcome, c.timing)
	if o := c.result.Outcome; o == api.CacheSwap || o == api.CacheLoad {
		s.swaps.WithLabelValues(o).Observe(c.timing.swap.Seconds())
	}
	s.expectTaken(w, m.Size())
	_, _ = m.WriteTo(w) // an error is the client's leaving: there is nobody to tell
	return nil
}

// rows is the number of inferences in the request: its batch size.
func (c *call) rows() int64 {
	if len(c.request.Inputs) == 0 {
		return 1
	}
	return batch(c.spec.Spec, c.request.Inputs[0].Shape)
}

func (c *call) setHeaders(h http.Header, m *oip.Message) {
	values := make([]string, 0, 7) // of all headers, one each
	set := func(name, value string) {
		n := len(values)
		values = append(values, value)
		h[name] = values[n : n+1 : n+1]
	}
	set("Content-Type", m.ContentType())
	set("Content-Length", strconv.FormatInt(m.Size(), 10))
	if n := m.HeaderSize(); n >= 0 {
		set(oip.HeaderLength, strconv.FormatInt(n, 10))
	}
	set(api.HeaderCache, c.result.Outcome)
	set(api.HeaderDevice, string(c.result.Device))
	set(api.HeaderEngine, c.result.Engine)
	set(api.HeaderTiming, api.Timing{Queue: c.timing.queue, Swap: c.timing.swap, Compute: c.timing.compute}.Format())
}

// ask is what the manager is asked for, but for the tensors. What the headers of
// the request say goes before what the model says.
func (c *call) ask(h http.Header) (cachemgr.Request, error) {
	ask := cachemgr.Request{
		Digest:   c.entry.offer.Digest,
		Device:   engine.DeviceID(h.Get(api.HeaderDeviceHint)),
		Arrived:  c.arrived,
		Function: c.entry.caller,
		SLO:      c.entry.slo,
		MaxBatch: c.entry.offer.Config.MaxBatch,
		Terms:    c.entry.terms,
	}
	if v := h.Get(api.HeaderSLO); v != "" {
		slo, err := time.ParseDuration(v)
		if err != nil || slo < 0 {
			return ask, fmt.Errorf(`%w: %s is %q, not a duration such as "80ms"`, errBadRequest, api.HeaderSLO, v)
		}
		ask.SLO, c.slo = slo, slo
	}
	if v := h.Get(api.HeaderFallback); v != "" {
		if err := api.CheckFallback(v); err != nil {
			return ask, fmt.Errorf("%w: %s: %w", errBadRequest, api.HeaderFallback, err)
		}
		ask.Terms.Fallback = v
	}
	return ask, nil
}

// timeLeft is how long a request may take: the limit, or what the caller still
// has if that is less.
func timeLeft(h http.Header, limit time.Duration) (time.Duration, error) {
	v := h.Get(api.HeaderDeadline)
	if v == "" {
		return limit, nil
	}
	left, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf(`%w: %s is %q, not a duration such as "1.5s"`, errBadRequest, api.HeaderDeadline, v)
	}
	if left <= 0 {
		return 0, fmt.Errorf("%s is %s: %w", api.HeaderDeadline, v, context.DeadlineExceeded)
	}
	return min(left, limit), nil
}

// requestRoom is the memory that a request's body takes, in bytes. An element in
// JSON can be two characters and become eight bytes.
func (s *Server) requestRoom(r *http.Request) int64 {
	size := s.bodySize(r)
	if r.Header.Get(oip.HeaderLength) == "" {
		size += min(4*size, s.limits.Body)
	}
	return size
}

// readRequest reads the body. What it returns has to be released.
func (s *Server) readRequest(w http.ResponseWriter, r *http.Request) (*oip.Request, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, fmt.Errorf("%w: Content-Encoding %q is not taken", errBadRequest, e)
	}
	headerLength := int64(-1)
	if v := r.Header.Get(oip.HeaderLength); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%w: %s is %q, not a number of bytes", errBadRequest, oip.HeaderLength, v)
		}
		headerLength = n
	}
	request, err := s.codec.ReadRequest(r.Body, r.ContentLength, headerLength)
	if err != nil {
		return nil, err
	}
	bodyDone(w)
	return request, nil
}

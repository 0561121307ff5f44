package provider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

// invocation is one request on its way to a replica.
type invocation struct {
	p        *Provider
	w        http.ResponseWriter
	r        *http.Request
	began    time.Time
	target   target
	callID   string
	function *dispatch.Function
	status   int // that was answered
	want     dispatch.Want
	slo      time.Duration // since began, 0 for none
	refused  bool          // because of it
	// wholeBody is set once the body was read; stream is one that is not read
	// before it is sent on.
	wholeBody bool
	stream    *stream

	request upstream.Request
	fields  [maxFields]upstream.Field
}

// invoke answers /function/NAME: it sends the request to a replica and the
// response back, and changes neither.
func (p *Provider) invoke(w http.ResponseWriter, r *http.Request) {
	v := &invocation{p: p, w: w, r: r, began: time.Now(), target: parseTarget(r.URL), wholeBody: r.ContentLength == 0}
	v.callID = r.Header.Get(api.HeaderCallID)
	if v.callID == "" {
		v.callID = newCallID()
	}
	f, ok := p.cfg.Dispatcher.Lookup(v.target.id)
	if !ok {
		v.refuse(dispatch.ErrUnknownFunction)
		return
	}
	v.function = f
	count := p.counts.of(v.target.id)
	defer func() { // also of aborted ones
		if v.status != statusPassedOn {
			count.add(v.status)
			v.countSLO(count)
		}
	}()
	v.serve()
}

func (v *invocation) serve() {
	if err := v.understand(); err != nil {
		v.refuse(err)
		return
	}
	b, err := v.p.readBody(v.w, v.r)
	if err != nil {
		v.refuse(err)
		return
	}
	defer b.release()
	v.wholeBody, v.stream = b.stream == nil, b.stream
	lease, response, err := v.send(&b)
	if errors.Is(err, dispatch.ErrRetired) && v.p.cfg.Successor != nil {
		v.passOn(&b)
		return
	}
	if err != nil {
		v.refuse(err)
		return
	}
	defer lease.Done()
	defer response.Close()
	h := response.Header
	lease.Answered(h.Get(api.HeaderCache), h.Get(api.HeaderDevice), h.Get(api.HeaderTiming))
	if mayLast(response) {
		lease.Computed()
	}
	v.respond(response)
	if v.bodyToCome() {
		// Nobody reads the stream any more, and the replica is free.
		response.Close()
		lease.Done()
		v.linger()
	}
}

// statusPassedOn stands for the answer of the successor, which counts it.
const statusPassedOn = 0

// passOn gives the request to the successor as it came.
func (v *invocation) passOn(b *body) {
	v.status = statusPassedOn
	if b.stream == nil {
		v.r.Body = io.NopCloser(bytes.NewReader(b.bytes))
	}
	v.r.Header.Set(api.HeaderCallID, v.callID)
	v.p.cfg.Successor.ServeHTTP(v.w, v.r)
}

// bodyToCome reports whether the client has more to send. Then its connection
// must take no other request: the rest of a body would be read as one.
func (v *invocation) bodyToCome() bool {
	return !v.wholeBody && (v.stream == nil || !v.stream.whole())
}

// send gets a replica and its response. Another replica is tried only if no byte
// of the request has reached the first.
func (v *invocation) send(b *body) (dispatch.Lease, *upstream.Response, error) {
	lease, err := v.acquire(b)
	v.slo = lease.SLO()
	if err != nil {
		return lease, nil, err
	}
	for {
		v.prepare(b, &lease)
		response, err := v.p.cfg.Upstream.Do(v.r.Context(), lease.Address, &v.request)
		if err == nil {
			return lease, response, nil
		}
		if !errors.Is(err, upstream.ErrNotSent) {
			lease.Done()
			return lease, nil, err
		}
		v.p.cfg.Log.Warn("replica not reached", "function", v.function.Key, "replica", lease.Replica, "call_id", v.callID, "error", err)
		if err := lease.Retry(v.r.Context()); err != nil {
			return lease, nil, err
		}
	}
}

// acquire waits for a replica. A client whose body has been read is seen to
// leave by its context; one whose body is still to come, by watching.
func (v *invocation) acquire(b *body) (dispatch.Lease, error) {
	ctx := v.r.Context()
	if b.stream != nil {
		var stop context.CancelFunc
		ctx, stop = watchClient(ctx)
		defer stop()
	}
	return v.p.cfg.Dispatcher.Acquire(ctx, v.function, v.want)
}

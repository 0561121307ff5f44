package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// Call says what an inference is run on, and carries along what came with the
// request that caused it. Only Model is needed.
type Call struct {
	Model   string
	Version string // "": the one served
	Device  string // a hint
	// Fallback is what happens while no GPU can answer, "" as the model says.
	Fallback string
	SLO      time.Duration
	CallID   string
	// Traceparent is the W3C header of that name.
	Traceparent string
}

// Info tells how an inference was served.
type Info struct {
	Cache  string // CacheHit, CacheSwap, CacheLoad or CacheFallback
	Device string
	Engine string
	Epoch  string // of the cache manager that answered
	Timing
}

// Infer runs a model. The inputs travel as binary data, and so do the outputs,
// into the buffers that r.Outputs gives where they fit. When Infer returns,
// nothing reads the inputs any more. The caller releases the response. The time
// left until ctx's deadline goes along. Errors: *Error, ErrUnreachable,
// oip.ErrMalformed, the cause of ctx.
func (c *Client) Infer(ctx context.Context, call Call, r *oip.Request) (*oip.Response, Info, error) {
	message, err := c.encode(r)
	if err != nil {
		return nil, Info{}, err
	}
	defer message.Release()
	var sends sync.WaitGroup
	// The transport may go on reading a body after it has returned an answer.
	defer sends.Wait()

	req, err := c.inferRequest(ctx, call, message, &sends)
	if err != nil {
		return nil, Info{}, err
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, Info{}, err
	}
	defer resp.Body.Close()
	headerLength := int64(-1)
	if h := resp.Header.Get(oip.HeaderLength); h != "" {
		if headerLength, err = strconv.ParseInt(h, 10, 64); err != nil || headerLength < 0 {
			return nil, Info{}, &Error{Status: http.StatusBadGateway, Message: oip.HeaderLength + " is " + strconv.Quote(h)}
		}
	}
	out, err := c.codec.ReadResponse(resp.Body, resp.ContentLength, headerLength, r.Outputs)
	if err != nil {
		return nil, Info{}, c.answerError(ctx, err)
	}
	return out, infoOf(resp.Header), nil
}

// encode makes a message of r that asks for binary outputs.
func (c *Client) encode(r *oip.Request) (*oip.Message, error) {
	binary := oip.Request{ID: r.ID, Inputs: r.Inputs, Places: r.Places, BinaryOutputs: true}
	if len(r.Outputs) > 0 {
		binary.Outputs = make([]oip.Output, len(r.Outputs))
		for i := range r.Outputs {
			binary.Outputs[i] = oip.Output{Name: r.Outputs[i].Name, Binary: true, Place: r.Outputs[i].Place}
		}
	}
	return c.codec.EncodeRequest(&binary, true)
}

// smallBody is up to what size a message is copied. The transport sends a buffer
// that it knows in one piece with the header of the request, but any other body
// in a piece of its own, which costs more than to copy so little.
const smallBody = 3 << 10

func (c *Client) inferRequest(ctx context.Context, call Call, m *oip.Message, sends *sync.WaitGroup) (*http.Request, error) {
	var small io.Reader
	if m.Size() <= smallBody {
		var b bytes.Buffer
		b.Grow(int(m.Size()))
		m.WriteTo(&b) // a Buffer takes everything
		small = &b
	}
	req, err := c.request(ctx, http.MethodPost, modelPath(call.Model, call.Version)+"/infer", small)
	if err != nil {
		return nil, err
	}
	if small == nil {
		req.GetBody = func() (io.ReadCloser, error) { return newBody(m, sends), nil }
		req.Body = newBody(m, sends)
		req.ContentLength = m.Size()
	}
	req.Header.Set("Content-Type", m.ContentType())
	// Not sent: it tells the transport that an inference may be sent again when a
	// connection from the pool turns out to be closed.
	req.Header["Idempotency-Key"] = nil
	if n := m.HeaderSize(); n >= 0 {
		req.Header.Set(oip.HeaderLength, strconv.FormatInt(n, 10))
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set(HeaderDeviceHint, call.Device)
	set(HeaderFallback, call.Fallback)
	set(HeaderCallID, call.CallID)
	set("Traceparent", call.Traceparent)
	if call.SLO > 0 {
		set(HeaderSLO, call.SLO.String())
	}
	if deadline, ok := ctx.Deadline(); ok {
		set(HeaderDeadline, time.Until(deadline).String())
	}
	return req, nil
}

func infoOf(h http.Header) Info {
	return Info{
		Cache:  h.Get(HeaderCache),
		Device: h.Get(HeaderDevice),
		Engine: h.Get(HeaderEngine),
		Epoch:  h.Get(HeaderEpoch),
		Timing: ParseTiming(h.Get(HeaderTiming)),
	}
}

package shm

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// Options of a Client.
type Options struct {
	// Socket is the path of shm.sock.
	Socket string
	// Token returns the caller's present token, "" if it has none.
	Token func() string
	// Limit is the most memory that is shared, in bytes; 0: none is.
	Limit int64
	// Keep is how long memory is kept that no request uses; 0: 30 s.
	Keep time.Duration
	Log  *slog.Logger
}

// Client is an api.Client whose Infer hands large tensors over in shared memory,
// and sends them as ever where that cannot be had.
type Client struct {
	*api.Client
	segments *segments
	buffers  buffer.Pool
	outputs  sync.Map // model -> []output, those that are known
}

// NewClient returns a client around another. Both have to be closed.
func NewClient(c *api.Client, o Options) *Client {
	return &Client{Client: c, segments: &segments{
		socket: o.Socket, token: o.Token, limit: o.Limit, log: o.Log,
		keep: cmp.Or(o.Keep, 30*time.Second), idle: make(map[int][]*segment),
	}}
}

// Close gives all shared memory back. Responses stay as they are.
func (c *Client) Close() { c.segments.close() }

// Infer is that of api.Client.
func (c *Client) Infer(ctx context.Context, call api.Call, r *oip.Request) (*oip.Response, api.Info, error) {
	p := newPlan(r, c.known(call))
	if p == nil {
		return c.inferPlain(ctx, call, r)
	}
	g := c.segments.get(ctx, p.size, c.Epoch())
	if g == nil {
		return c.inferPlain(ctx, call, r)
	}
	resp, info, err := c.Client.Infer(ctx, call, p.request(g))
	switch answer, _ := errors.AsType[*api.Error](err); {
	case err == nil:
		if err := p.takeOutputs(resp, g, &c.buffers); err != nil {
			resp.Release()
			c.segments.abandon(g)
			return nil, info, err
		}
		c.segments.put(g)
		c.learn(ctx, call, resp)
		return resp, info, nil
	case answer == nil:
		c.segments.abandon(g)
	case answer.Status == http.StatusGone: // nothing was run
		c.segments.lost(g)
		return c.inferPlain(ctx, call, r)
	default: // an answer comes when the run is over
		c.segments.put(g)
	}
	return nil, info, err
}

func (c *Client) inferPlain(ctx context.Context, call api.Call, r *oip.Request) (*oip.Response, api.Info, error) {
	resp, info, err := c.Client.Infer(ctx, call, r)
	if err == nil {
		c.learn(ctx, call, resp)
	}
	return resp, info, err
}

// model is what a client knows outputs by.
type model struct{ name, version string }

func (c *Client) known(call api.Call) []output {
	outputs, _ := c.outputs.Load(model{call.Model, call.Version})
	list, _ := outputs.([]output)
	return list
}

// learn asks what a model's outputs are, once it has given a large one. A function
// has the same models as long as it runs.
func (c *Client) learn(ctx context.Context, call api.Call, resp *oip.Response) {
	key := model{call.Model, call.Version}
	if c.segments.limit == 0 || !anyLarge(resp) {
		return
	}
	if _, known := c.outputs.Load(key); known {
		return
	}
	m, err := c.ModelMetadata(ctx, call.Model, call.Version)
	if err != nil {
		return // the next answer gives occasion to ask again
	}
	c.outputs.Store(key, outputsOf(m))
}

func anyLarge(resp *oip.Response) bool {
	for i := range resp.Outputs {
		if int64(len(resp.Outputs[i].Data)) >= large {
			return true
		}
	}
	return false
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// path is one way to the same answer: a request that is sent again and again
// over one kept connection. All paths of a run are net/http clients of the same
// making, so that their client's cost is the same.
type path struct {
	name   string
	client *http.Client
	url    string
	header http.Header
	body   []byte
	want   []byte       // the answer expected, nil: any
	verify func() error // of what is not in the answer, nil: nothing
	answer bytes.Buffer
}

// dial makes a client of a Unix socket, or of TCP where socket is "".
func dial(socket string) *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true}
	if socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}
	}
	return &http.Client{Transport: t, Timeout: 30 * time.Second}
}

// send makes the request once. It returns the time until the whole answer was
// there, and the part of it that the engine took by its own account.
func (p *path) send() (total, engine time.Duration, err error) {
	start := time.Now()
	req, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(p.body))
	if err != nil {
		return 0, 0, err
	}
	for k, v := range p.header {
		req.Header[k] = v
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", p.name, err)
	}
	defer res.Body.Close()
	p.answer.Reset()
	if n := res.ContentLength; n > 0 {
		p.answer.Grow(int(n) + bytes.MinRead)
	}
	if _, err := p.answer.ReadFrom(res.Body); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", p.name, err)
	}
	total = time.Since(start)
	if res.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("%s: status %d: %.200s", p.name, res.StatusCode, p.answer.Bytes())
	}
	if p.want != nil && !bytes.HasSuffix(p.answer.Bytes(), p.want) {
		return 0, 0, fmt.Errorf("%s: wrong output", p.name)
	}
	if p.verify != nil {
		if err := p.verify(); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return total, api.ParseTiming(res.Header.Get(api.HeaderTiming)).Compute, nil
}

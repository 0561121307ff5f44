package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	probeFirst   = 20 * time.Millisecond // between probes of a replica that starts, growing
	probeLast    = 500 * time.Millisecond
	probeReady   = time.Second // between probes of one that is ready
	probeTimeout = 2 * time.Second
	// startGrace is how long a replica may refuse connections before that is
	// called a problem.
	startGrace = 5 * time.Second
	// maxMisses probes in a row without an answer make a ready replica not ready:
	// a busy machine may well miss one.
	maxMisses = 3
	// probeAgent is a name by which watchdogs know not to log the request.
	probeAgent = "kube-probe/faas-gpu"
)

// newProbeClient makes a client whose attempts to connect end with ctx: by
// themselves they go on after the request has ended, for a replica that has left
// the network up to minutes.
func newProbeClient(ctx context.Context) *http.Client {
	return &http.Client{
		Timeout: probeTimeout,
		Transport: &http.Transport{
			DialContext: func(own context.Context, network, address string) (net.Conn, error) {
				own, cancel := context.WithCancel(own)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				dialer := net.Dialer{Timeout: probeTimeout}
				return dialer.DialContext(own, network, address)
			},
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// health is what a replica's watchdog says.
type health struct {
	ready  bool
	reason string // why not
}

// prober asks one watchdog again and again.
type prober struct {
	client *http.Client
	url    string
	path   string
	misses int
}

// watch reports every change of health until ctx ends. It starts from not ready,
// with no reason.
func (p *prober) watch(ctx context.Context, report func(health)) {
	started := time.Now()
	var last health
	delay := probeFirst
	for {
		h := p.health(ctx, last, time.Since(started) < startGrace)
		if ctx.Err() != nil {
			return
		}
		switch {
		case h.ready:
			delay = probeReady
		case last.ready:
			delay = probeFirst
		default:
			delay = min(delay*3/2, probeLast)
		}
		if h != last {
			report(h)
			last = h
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

func (p *prober) health(ctx context.Context, last health, starting bool) health {
	status, text, err := p.get(ctx)
	if err == nil && status == http.StatusNotFound && p.path == "/_/ready" {
		// A watchdog that knows no readiness knows health.
		p.path = "/_/health"
		status, text, err = p.get(ctx)
	}
	switch {
	case err == nil:
		p.misses = 0
		// One that is at its limit of requests (429) serves: how many requests it
		// gets is not decided here.
		if status == http.StatusOK || status == http.StatusTooManyRequests {
			return health{ready: true}
		}
		return health{reason: strings.TrimSpace(fmt.Sprintf("GET %s answers %d %s", p.path, status, text))}
	case last.ready && isTimeout(err) && p.misses+1 < maxMisses:
		p.misses++
		return last
	case starting:
		return health{reason: last.reason}
	}
	return health{reason: fmt.Sprintf("GET %s: %v", p.path, rootCause(err))}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// rootCause drops addresses, which differ from probe to probe.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// get returns the status and, if it is not 200, the beginning of the body.
func (p *prober) get(ctx context.Context) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+p.path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("User-Agent", probeAgent)
	res, err := p.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	// A short body is read to its end, so that the connection is used again.
	body, err := io.ReadAll(io.LimitReader(res.Body, 512))
	if err != nil {
		return 0, "", err
	}
	if res.StatusCode == http.StatusOK {
		return res.StatusCode, "", nil
	}
	return res.StatusCode, strings.Join(strings.Fields(string(body)), " "), nil
}

package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

const (
	dialTimeout = 5 * time.Second
	idleTimeout = 90 * time.Second
	idleConns   = 256
	// maxAnswer bounds the bodies that are not tensors.
	maxAnswer = 16 << 20
	// DefaultMaxResponse is the most that an inference may answer.
	DefaultMaxResponse = 256<<20 + 1<<20
)

// ClientConfig says where a cache manager is and who calls.
type ClientConfig struct {
	// Address is the path of a Unix socket ("/run/faas-gpu/oip.sock"), or a URL
	// ("http://10.0.0.3:8000").
	Address string
	// Token returns the caller's present token, "" if it has none. It is called
	// for every request. Nil is a caller without token.
	Token func() string
	// TLS is for https; nil is the system's defaults.
	TLS *tls.Config
	// MaxResponse is the longest answer to an inference in bytes; 0 is
	// DefaultMaxResponse.
	MaxResponse int64
}

// Client talks to one cache manager. Its methods may be called at the same time.
type Client struct {
	address string
	base    *url.URL
	token   func() string
	codec   *oip.Codec
	http    *http.Client
	epoch   atomic.Pointer[string]
}

// NewClient returns a client; it connects when it is used.
func NewClient(c ClientConfig) (*Client, error) {
	base, dialer, err := parseAddress(c.Address)
	if err != nil {
		return nil, err
	}
	if c.Token == nil {
		c.Token = func() string { return "" }
	}
	if c.MaxResponse == 0 {
		c.MaxResponse = DefaultMaxResponse
	}
	return &Client{
		address: c.Address,
		base:    base,
		token:   c.Token,
		codec:   oip.NewCodec(c.MaxResponse),
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         dialer,
				TLSClientConfig:     c.TLS,
				MaxIdleConnsPerHost: idleConns,
				IdleConnTimeout:     idleTimeout,
				DisableCompression:  true,
				// A server that does not want an upload says so before it is sent.
				ExpectContinueTimeout: time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func parseAddress(address string) (*url.URL, dialFunc, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if strings.HasPrefix(address, "/") {
		return &url.URL{Scheme: "http", Host: "cachemgr"}, func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, dialer, "unix", address)
		}, nil
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, nil, fmt.Errorf("cache manager address %q is neither the path of a socket nor a URL like http://host:8000", address)
	}
	return &url.URL{Scheme: base.Scheme, Host: base.Host}, func(ctx context.Context, network, address string) (net.Conn, error) {
		return dial(ctx, dialer, network, address)
	}, nil
}

func dial(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Epoch names the run of the cache manager that answered last, "" before the
// first answer. When it changes, the cache manager was restarted.
func (c *Client) Epoch() string {
	if e := c.epoch.Load(); e != nil {
		return *e
	}
	return ""
}

// request makes a request to path, whose segments are escaped already.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	u := *c.base
	escaped, err := url.PathUnescape(path)
	if err != nil {
		return nil, fmt.Errorf("cache manager request: %w", err)
	}
	u.Path, u.RawPath = escaped, path
	req, err := http.NewRequestWithContext(ctx, method, "", body)
	if err != nil {
		return nil, fmt.Errorf("cache manager request: %w", err)
	}
	req.URL, req.Host = &u, u.Host
	if token := c.token(); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

// do sends a request. An answer that is not 2xx is an *Error. The caller closes
// the body of the answer.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.transportError(req.Context(), err)
	}
	if e := resp.Header.Get(HeaderEpoch); e != "" && e != c.Epoch() {
		c.epoch.Store(&e)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

// answerError is the error of reading the body of an answer: a cache manager that
// was killed while it wrote is gone, one that writes nonsense is not.
func (c *Client) answerError(ctx context.Context, err error) error {
	cutOff := errors.Is(err, io.ErrUnexpectedEOF)
	if !cutOff && (errors.Is(err, oip.ErrMalformed) || errors.Is(err, oip.ErrTooLarge)) {
		return fmt.Errorf("answer of the cache manager at %s: %w", c.address, err)
	}
	return c.transportError(ctx, err)
}

// transportError tells a caller that gave up from a cache manager that is gone.
func (c *Client) transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("cache manager at %s: %w", c.address, context.Cause(ctx))
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // its text repeats a URL that says nothing
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.address, err)
}

// readError makes an error of an answer.
func readError(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // whatever came is better than nothing
	var body oip.ErrorBody
	if json.Unmarshal(text, &body) == nil && body.Error != "" {
		e.Message = body.Error
	} else if e.Message = strings.TrimSpace(string(text)); e.Message == "" {
		e.Message = http.StatusText(resp.StatusCode)
	}
	return e
}

// call sends in as JSON, unless it is nil, and reads the answer to out, unless
// that is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(text)
	}
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", oip.ContentJSON)
	}
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := io.LimitReader(resp.Body, maxAnswer)
	if out == nil {
		_, err = io.Copy(io.Discard, answer) // so that the connection can be used again
	} else if err = json.NewDecoder(answer).Decode(out); err == nil {
		_, err = io.Copy(io.Discard, answer)
	}
	if err != nil {
		return c.transportError(ctx, fmt.Errorf("%s %s: read the answer: %w", method, path, err))
	}
	return nil
}

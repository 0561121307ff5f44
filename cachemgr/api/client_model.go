package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// modelPath is the route of a model, of its version if that is not "".
func modelPath(model, version string) string {
	path := "/v2/models/" + url.PathEscape(model)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	return path
}

// ServerMetadata describes the cache manager.
func (c *Client) ServerMetadata(ctx context.Context) (oip.ServerMetadata, error) {
	var m oip.ServerMetadata
	err := c.call(ctx, http.MethodGet, "/v2", nil, &m)
	return m, err
}

// ServerReady reports whether the cache manager takes requests.
func (c *Client) ServerReady(ctx context.Context) (bool, error) {
	return ready(c.call(ctx, http.MethodGet, "/v2/health/ready", nil, nil))
}

// ModelReady reports whether a model can serve; version "" is the one served.
func (c *Client) ModelReady(ctx context.Context, model, version string) (bool, error) {
	return ready(c.call(ctx, http.MethodGet, modelPath(model, version)+"/ready", nil, nil))
}

// ready reads "not ready" out of the statuses that stand for it: 400 with Triton,
// 503 elsewhere.
func ready(err error) (bool, error) {
	if e, ok := errors.AsType[*Error](err); ok && (e.Status == http.StatusBadRequest || e.Status == http.StatusServiceUnavailable) {
		return false, nil
	}
	return err == nil, err
}

// ModelMetadata describes a model; version "" is the one served.
func (c *Client) ModelMetadata(ctx context.Context, model, version string) (oip.ModelMetadata, error) {
	var m oip.ModelMetadata
	err := c.call(ctx, http.MethodGet, modelPath(model, version), nil, &m)
	return m, err
}

// Load makes a model resident and returns when it is.
func (c *Client) Load(ctx context.Context, model string) error {
	return c.call(ctx, http.MethodPost, "/v2/repository/models/"+url.PathEscape(model)+"/load", oip.RepositoryParameters{}, nil)
}

// Unload takes a model off its devices.
func (c *Client) Unload(ctx context.Context, model string) error {
	return c.call(ctx, http.MethodPost, "/v2/repository/models/"+url.PathEscape(model)+"/unload", oip.RepositoryParameters{}, nil)
}

// Cache describes the caller's own models and what they take.
func (c *Client) Cache(ctx context.Context) (CacheStatus, error) {
	var s CacheStatus
	err := c.call(ctx, http.MethodGet, RouteCache, nil, &s)
	return s, err
}

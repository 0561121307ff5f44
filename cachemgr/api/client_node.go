package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Prefetch asks for a model to be made resident; it does not wait for that. For
// the provider.
func (c *Client) Prefetch(ctx context.Context, p PrefetchRequest) error {
	return c.call(ctx, http.MethodPost, RoutePrefetch, p, nil)
}

// PutReferences says which functions exist. For the provider. An *Error with
// status 409: the node knows a later generation, which the message names.
func (c *Client) PutReferences(ctx context.Context, r References) error {
	return c.call(ctx, http.MethodPut, RouteReferences, r, nil)
}

// WatchStatus calls f with each message of the node's status stream, one at a
// time, the first of them a full snapshot. It returns when the stream ends:
// ErrUnreachable if it was cut off, the cause of ctx if the caller ended it. For
// the provider.
func (c *Client) WatchStatus(ctx context.Context, f func(NodeStatus)) error {
	req, err := c.request(ctx, http.MethodGet, RouteStatus, nil)
	if err != nil {
		return err
	}
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for messages := json.NewDecoder(resp.Body); ; {
		var s NodeStatus
		if err := messages.Decode(&s); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it ended the status stream")
			}
			return c.transportError(ctx, fmt.Errorf("status stream: %w", err))
		}
		f(s)
	}
}

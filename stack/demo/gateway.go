package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

const namespace = "openfaas-fn"

// gateway is what faas-cli's --gateway names, called without faas-cli: for many
// requests, and for what faas-cli has no command for.
type gateway struct {
	url      string
	password string
	http     *http.Client
}

// reply is a function's answer.
type reply struct {
	body    []byte
	cache   string // one of api's Cache values
	latency time.Duration
}

// invoke calls a function. Anything but 200 is an error with the answer's text.
func (g *gateway) invoke(ctx context.Context, name string, body []byte) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/function/"+name+"."+namespace, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	began := time.Now()
	answer, header, err := g.do(req)
	return reply{answer, header.Get(api.HeaderCache), time.Since(began)}, err
}

// scaleToZero stops all replicas of a function and waits until they are gone.
func (g *gateway) scaleToZero(ctx context.Context, name string) error {
	body, err := json.Marshal(types.ScaleServiceRequest{ServiceName: name, Namespace: namespace, Replicas: 0})
	if err != nil {
		return err
	}
	if err := g.system(ctx, http.MethodPost, "/system/scale-function/"+name, body, nil); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var s types.FunctionStatus
		if err := g.system(ctx, http.MethodGet, "/system/function/"+name+"?namespace="+namespace, nil, &s); err != nil {
			return err
		}
		if s.Replicas == 0 && s.AvailableReplicas == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s still has %d replicas: %w", name, s.AvailableReplicas, ctx.Err())
		}
	}
}

// cache is what a function's watchdog says of its models.
func (g *gateway) cache(ctx context.Context, name string) (api.CacheStatus, error) {
	var s api.CacheStatus
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/function/"+name+"."+namespace+"/_/cache", nil)
	if err != nil {
		return s, err
	}
	body, _, err := g.do(req)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(body, &s)
}

// system calls a route of the provider, and reads its JSON into out unless that
// is nil.
func (g *gateway) system(ctx context.Context, method, route string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, g.url+route, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth("admin", g.password)
	answer, _, err := g.do(req)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

func (g *gateway) do(req *http.Request) ([]byte, http.Header, error) {
	resp, err := g.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, resp.Header, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, resp.Header, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, resp.Header, nil
}

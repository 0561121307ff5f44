package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// checkReady is the argument with which the program only says whether another one,
// with the same environment, serves: for those who supervise it and have no HTTP
// client.
const checkReady = "-check-ready"

// readyTimeout is how long a program that serves may take to say so.
const readyTimeout = 5 * time.Second

// ready asks the provider that listens there.
func ready(ctx context.Context, bind string, port int) error {
	if ip := net.ParseIP(bind); bind == "" || ip != nil && ip.IsUnspecified() {
		bind = "127.0.0.1" // all addresses, so this one too
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(bind, strconv.Itoa(port))+"/healthz", nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s answered %s", req.URL, resp.Status)
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/node"
)

// checkReady is the argument with which the program only says whether another one,
// with the same environment, serves: for those who supervise it and have no HTTP
// client.
const checkReady = "-check-ready"

// readyTimeout is how long a program that serves may take to say so.
const readyTimeout = 5 * time.Second

// ready asks the cache manager whose sockets are in this folder.
func ready(ctx context.Context, dir string) error {
	if dir == "" || dir == node.Off {
		return fmt.Errorf("%s asks at the socket, and socket_dir is off", checkReady)
	}
	path := filepath.Join(dir, api.SocketOIP)
	c, err := api.NewClient(api.ClientConfig{Address: path})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if ok, err := c.ServerReady(ctx); err != nil {
		return fmt.Errorf("not ready: %w", err)
	} else if !ok {
		return fmt.Errorf("not ready: the cache manager at %s is starting or ending", path)
	}
	return nil
}

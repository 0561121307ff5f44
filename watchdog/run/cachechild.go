package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/child"
)

// How long a cache manager that ended is left alone before it is started again:
// longer each time, and from the start again once it ran for steadyRun.
const (
	firstRestart = 100 * time.Millisecond
	lastRestart  = 10 * time.Second
	steadyRun    = time.Minute
)

// cacheGrace is how long a cache manager may take to end.
const cacheGrace = 5 * time.Second

// cacheChild keeps a cache manager running for this function alone.
type cacheChild struct {
	command child.Command
	out     outputs
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	force   <-chan struct{} // set before cancel
}

// startCacheChild starts the cache manager. It must start once; after that it is
// started again whenever it ends.
func (w *watchdog) startCacheChild() (*cacheChild, error) {
	if err := os.MkdirAll(w.CacheChildData, 0o700); err != nil {
		return nil, fmt.Errorf("cachemgr_mode=child: %w", err)
	}
	c := &cacheChild{out: w.out, command: child.Command{
		Args:    []string{w.CacheBinary},
		Environ: childEnviron(w.environ, w.CacheChildData),
		Stdout:  w.out.stdout, Stderr: w.out.stderr, MaxLine: w.LogBufferSize,
	}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	p, err := child.Start(c.command)
	if err != nil {
		return nil, fmt.Errorf("cachemgr_binary: %w", err)
	}
	c.work.Go(func() { c.keep(p) })
	return c, nil
}

// childEnviron gives the cache manager a place of its own: nobody else can reach
// it, so nobody needs a token. What else it reads is the function's to set.
func childEnviron(environ []string, dir string) []string {
	return append(slices.Clone(environ),
		"auth=none",
		"socket_dir="+dir,
		"store_path="+filepath.Join(dir, "store"),
		"listen=off",
		"metrics_listen=off")
}

func (c *cacheChild) keep(p *child.Process) {
	wait := firstRestart
	for {
		started := time.Now()
		if p != nil {
			select {
			case <-p.Done():
			case <-c.ctx.Done():
				p.Stop(cacheGrace, c.force)
				return
			}
			c.out.log.Error("the cache manager has ended", "code", p.ExitCode())
		}
		if time.Since(started) > steadyRun {
			wait = firstRestart
		}
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return
		}
		wait = min(2*wait, lastRestart)
		var err error
		if p, err = child.Start(c.command); err != nil {
			p = nil
			c.out.log.Error("the cache manager cannot be started", "error", err)
		}
	}
}

// stop ends the cache manager.
func (c *cacheChild) stop(force <-chan struct{}) {
	c.force = force
	c.cancel()
	c.work.Wait()
}

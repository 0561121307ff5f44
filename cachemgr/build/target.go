package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// describeAgain is how long a failure to describe the target holds.
const describeAgain = 10 * time.Second

// describe asks the program what its plans are good for.
func (b *Builder) describe(ctx context.Context) (Target, error) {
	last, err := b.run(ctx, func(Progress) {}, "--describe", "--device", string(b.cfg.Device), "--until-stdin-ends")
	if err == nil && (last.TensorRT == "" || last.Device == "" || last.SM == "") {
		err = fmt.Errorf("%w: %s --describe does not name TensorRT, device and compute capability", engine.ErrUnavailable, b.cfg.Program)
	}
	return last.Target, err
}

// targetCache asks once, for all that want to know.
type targetCache struct {
	describe func(context.Context) (Target, error)

	mu      sync.Mutex
	asking  chan struct{} // closed when the question that is under way was answered
	known   bool
	target  Target
	err     error
	askedAt time.Time
}

func (c *targetCache) get(ctx context.Context) (Target, error) {
	for ctx.Err() == nil {
		c.mu.Lock()
		switch {
		case c.known || c.err != nil && time.Since(c.askedAt) < describeAgain:
			defer c.mu.Unlock()
			return c.target, c.err
		case c.asking == nil:
			c.asking = make(chan struct{})
			c.mu.Unlock()
			c.ask(ctx)
			continue
		}
		asking := c.asking
		c.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
		}
	}
	return Target{}, ctx.Err()
}

// ask asks on behalf of a caller; if that one gives up, the next one asks again.
func (c *targetCache) ask(ctx context.Context) {
	target, err := c.describe(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target, c.err, c.known, c.askedAt = target, err, err == nil, time.Now()
	if ctx.Err() != nil {
		c.err = nil // it says nothing about the program
	}
	close(c.asking)
	c.asking = nil
}

// forget makes the next call ask again.
func (c *targetCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = false
}

// planID stands for all that a plan depends on.
func planID(w Want, t Target) string {
	return digestOf(w.Digest, t.TensorRT, t.Device, t.SM, w.Precision, fmt.Sprint(w.Batch))
}

func digestOf(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

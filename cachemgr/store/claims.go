package store

import (
	"context"
	"sync"
)

// claims lets one caller at a time work on what a key stands for. The zero value
// is ready.
type claims[K comparable] struct {
	mu   sync.Mutex
	held map[K]chan struct{}
}

// take waits until nobody else has the key, and returns what gives it back.
func (c *claims[K]) take(ctx context.Context, key K) (release func(), err error) {
	for {
		c.mu.Lock()
		other, taken := c.held[key]
		if !taken {
			mine := make(chan struct{})
			if c.held == nil {
				c.held = make(map[K]chan struct{})
			}
			c.held[key] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.held, key)
				c.mu.Unlock()
				close(mine)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

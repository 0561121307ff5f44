package build

import (
	"context"
	"time"
)

// awaitIdle returns when no request has used the GPU for a while, or when that was
// waited for long enough: a GPU that is never idle must not keep its models from
// ever being built.
func (b *Builder) awaitIdle(ctx context.Context) error {
	began := time.Now()
	stamp, busy := b.cfg.GPU.Activity()
	since := began // the last sign of a request
	look := time.NewTicker(max(b.cfg.Idle/4, time.Millisecond))
	defer look.Stop()
	for {
		now := time.Now()
		if !busy && now.Sub(since) >= b.cfg.Idle {
			return nil
		}
		if now.Sub(began) >= b.cfg.Patience {
			b.cfg.Log.Info("the GPU is not idle: a plan is built nevertheless, and its kernels may be chosen less well",
				"waited", now.Sub(began).Round(time.Millisecond))
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		before := stamp
		if stamp, busy = b.cfg.GPU.Activity(); busy || stamp != before {
			since = time.Now()
		}
	}
}

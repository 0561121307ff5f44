package region

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// Pinning a MiB takes the driver a millisecond, as unpinning does, in which it does
// little else. So a function may have its quota pinned twice at once, and then as
// much again in turnover.
const (
	pinsAtOnce = 2 // of the quota of a function
	turnover   = 10 * time.Second
)

// pinning bounds the bytes that each function has pinned in a time.
type pinning struct {
	quota int64

	mu       sync.Mutex
	limiters map[api.FunctionRef]*rate.Limiter // those that are not full
}

// may reports whether n more bytes of a function may be pinned now, and counts them.
func (p *pinning) may(f api.FunctionRef, n int64, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.limiters[f]
	if l == nil {
		p.forget(now)
		l = rate.NewLimiter(rate.Limit(float64(p.quota)/turnover.Seconds()), int(pinsAtOnce*p.quota))
		p.limiters[f] = l
	}
	return l.AllowN(now, int(n))
}

// forget drops what a new limiter knows too.
func (p *pinning) forget(now time.Time) {
	for f, l := range p.limiters {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(p.limiters, f)
		}
	}
}

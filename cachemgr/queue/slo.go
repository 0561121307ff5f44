package queue

import "time"

// Patience is the objective that a request without one is given.
const Patience = time.Second

// SLO is the default. A request that can still be answered in time goes before
// one that cannot, and the one that has to be begun first goes first. Functions
// that fall so far short of the target that a window of good answers would not
// bring them back come after the others; one miss is forgiven at once, because
// every function begins with a model that has to be read from disk.
//
// A request lets models in use give way only once half of the time that it could
// wait is over: until then it takes what is idle, and requests that find their
// model resident are not made to wait for a swap that hurries nobody.
type SLO struct{ book *Book }

var _ Policy = SLO{}

// NewSLO returns the policy over a book.
func NewSLO(b *Book) SLO { return SLO{b} }

// Classes of SLO, the first goes first.
const (
	inTime   = iota
	hopeless // the function, not the request
	late
)

// Rank implements Policy.
func (p SLO) Rank(now time.Duration, r *Request) Rank {
	deadline := r.Deadline
	if deadline == 0 {
		deadline = r.Arrived + Patience
	}
	begin := deadline - r.Work // at the latest
	if now > begin {
		return Rank{Class: late, Until: Forever, Press: now}
	}
	return Rank{
		Class: p.class(r.Function),
		Key:   float64(begin),
		Until: begin + 1,
		Press: r.Arrived + (begin-r.Arrived)/2,
	}
}

func (p SLO) class(f *Function) int {
	if f == nil {
		return inTime
	}
	oneMiss := p.book.target / (1 - p.book.target) // what a first request that is late requires
	if f.required(p.book.target) > max(float64(f.allSent), oneMiss)+1e-9 {
		return hopeless
	}
	return inTime
}

// Round implements Policy.
func (SLO) Round(time.Duration) uint64 { return 0 }

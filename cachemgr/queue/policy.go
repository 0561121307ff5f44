package queue

import (
	"cmp"
	"math"
	"time"
)

// Forever is the end of a Rank that time does not change.
const Forever = time.Duration(math.MaxInt64)

// Rank is where a request stands among those that wait: the lowest class goes
// first, in it the lowest key, and of equals the one that came first.
type Rank struct {
	Class int
	Key   float64
	// Until is when the rank gets worse; the request is then ranked again. It
	// never gets better by waiting.
	Until time.Duration
	// Press is from when on the request is worth that models in use give way.
	Press time.Duration
}

func (r Rank) compare(other Rank) int {
	return cmp.Or(cmp.Compare(r.Class, other.Class), cmp.Compare(r.Key, other.Key))
}

// Policy ranks requests. One policy may serve several queues. Times are since a
// start that is the same for all, and never go back.
type Policy interface {
	// Rank ranks a request that waits at a time.
	Rank(now time.Duration, r *Request) Rank
	// Round does what is to be done from time to time, and returns a number that
	// changes when ranks given before no longer hold.
	Round(now time.Duration) uint64
}

// FIFO serves first who came first.
type FIFO struct{}

var _ Policy = FIFO{}

// Rank implements Policy: all are equal, so that the first one goes first.
func (FIFO) Rank(time.Duration, *Request) Rank { return Rank{Until: Forever} }

// Round implements Policy.
func (FIFO) Round(time.Duration) uint64 { return 0 }

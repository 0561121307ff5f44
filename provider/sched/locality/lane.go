package locality

import (
	"math/bits"
	"time"
)

// line holds the waiting requests of one function, model and SLO.
type line struct {
	function *function
	model    *model
	slo      time.Duration
	lane     *lane
	queue    queue
	at       []int32 // its place in each lineHeap, -1 if it is not there
}

// lane holds the waiting requests that the same devices may serve.
type lane struct {
	key     string
	devices []*device
	mask    bitset
	queue   queue
	urgent  lineHeap // its lines by rank; only swap fills it
	lines   int      // that use it
	// backlog is the compute of its requests that have an SLO to be met.
	backlog instant

	// passes is how often the first request was passed over, see take.
	passes int
}

// take removes r from its lane. If r is served and not just cancelled, all that
// came before it have been passed over once more.
//
// Counting that does not touch them all: how often a request was passed over is
// the sum of passed from itself to the end of the lane. So the first one was
// passed over most often, and lane.passes is its count.
func (l *lane) take(r *request, served bool) {
	if before := r.links[inLane].prev; before == nil {
		l.passes -= r.passed
	} else {
		before.passed += r.passed
		if served {
			before.passed++
			l.passes++
		}
	}
	r.passed = 0
	l.queue.remove(r)
	l.backlog -= r.backlog
	r.backlog = 0
}

// bitset is a set of devices by their index.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }
func (b bitset) add(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) remove(i int)   { b[i/64] &^= 1 << (i % 64) }

// lowest is the index of the lowest bit that is set.
func lowest(word uint64) int { return bits.TrailingZeros64(word) }

// rank orders lines by the request that is next in them.
type rank struct {
	due instant // 0 where only the arrival counts
	seq uint64
}

func (a rank) before(b rank) bool { return a.due < b.due || a.due == b.due && a.seq < b.seq }

// lineHeap has the line with the lowest rank on top. It is brought up to date
// when it is looked at: an entry that is out of date is at worst too near to the
// top. For ranks of a line only grow, save when a request comes back or a late one
// leaves; then they are pushed.
type lineHeap struct {
	slot    int // in line.at
	entries []heapEntry
}

type heapEntry struct {
	rank rank
	line *line
}

// push tells that l may now have that rank.
func (h *lineHeap) push(l *line, r rank) {
	i := int(l.at[h.slot])
	if i < 0 {
		i = len(h.entries)
		h.entries = append(h.entries, heapEntry{r, l})
		l.at[h.slot] = int32(i)
	} else if r.before(h.entries[i].rank) {
		h.entries[i].rank = r
	} else {
		return
	}
	h.rise(i)
}

// delay gives the line on top a higher rank.
func (h *lineHeap) delay(r rank) {
	h.entries[0].rank = r
	h.sink(0)
}

// remove takes l out, if it is there.
func (h *lineHeap) remove(l *line) {
	i := int(l.at[h.slot])
	if i < 0 {
		return
	}
	last := len(h.entries) - 1
	h.swap(i, last)
	h.entries[last] = heapEntry{}
	h.entries = h.entries[:last]
	l.at[h.slot] = -1
	if i < last {
		h.sink(i)
		h.rise(i)
	}
}

func (h *lineHeap) rise(i int) {
	for i > 0 {
		up := (i - 1) / 2
		if !h.entries[i].rank.before(h.entries[up].rank) {
			return
		}
		h.swap(i, up)
		i = up
	}
}

func (h *lineHeap) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.entries); child++ {
			if h.entries[child].rank.before(h.entries[least].rank) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *lineHeap) swap(i, j int) {
	if i == j {
		return
	}
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	h.entries[i].line.at[h.slot], h.entries[j].line.at[h.slot] = int32(i), int32(j)
}

package queue

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Request is one that waits. Its owner sets the exported fields before Push and
// leaves them alone until the request is out of the queue again.
type Request struct {
	Owner    any           // whose it is; the queue does not look at it
	Number   uint64        // by arrival, no two have the same
	Arrived  time.Duration // when it came
	Deadline time.Duration // when its answer should be there; 0 is no objective
	Work     time.Duration // what is still to be done for it, an estimate
	Function *Function     // who asks; nil is nobody

	group  *Group
	rank   Rank
	turn   uint64 // how many were pushed before it
	ranked int    // places in the heaps of its group
	waited int
}

// Group holds the requests that can go on together. Make it with NewGroup.
type Group struct {
	Owner any // whose it is; the queue does not look at it

	ranked heap[*Request, byRank]
	waited heap[*Request, byTurn]
	open   bool
	heavy  bool
	listed int // places in the queue
	best   int
	oldest int
}

// NewGroup returns a group without requests, which is closed and light.
func NewGroup(owner any) Group {
	return Group{Owner: owner, listed: -1, best: -1, oldest: -1}
}

// Len is how many requests wait in the group.
func (g *Group) Len() int { return len(g.ranked.items) }

// All yields the requests of the group, in no particular order. The group must
// not be changed meanwhile.
func (g *Group) All() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		for _, r := range g.ranked.items {
			if !yield(r) {
				return
			}
		}
	}
}

// Queue holds what waits for one device. It is not safe for concurrent use.
type Queue struct {
	policy Policy
	round  uint64
	passes uint64 // how often a request may be passed over

	pushed, gone uint64 // requests
	groups       []*Group
	best         [2]heap[*Group, byBest] // open groups: light ones, heavy ones
	oldest       heap[*Group, byOldest]  // open groups
}

// New returns an empty queue. A request that could go on is passed over by later
// ones at most passes times.
func New(p Policy, passes int) *Queue {
	return &Queue{policy: p, passes: uint64(max(passes, 0))}
}

// Len is how many requests wait, in open groups and in closed ones.
func (q *Queue) Len() int { return int(q.pushed - q.gone) }

// Groups yields the groups in which requests wait, open or closed, in no
// particular order. The queue may be changed meanwhile.
func (q *Queue) Groups() iter.Seq[*Group] { return slices.Values(slices.Clone(q.groups)) }

// Push lets a request wait in a group. A group is in one queue at a time.
func (q *Queue) Push(now time.Duration, g *Group, r *Request) {
	q.keepUp(now)
	r.group, r.rank, r.turn = g, q.policy.Rank(now, r), q.pushed
	q.pushed++
	g.ranked.push(r)
	g.waited.push(r)
	if g.listed < 0 {
		g.listed = len(q.groups)
		q.groups = append(q.groups, g)
	}
	q.place(g)
}

// Remove takes a request out that does not wait any more. It must be inside.
func (q *Queue) Remove(r *Request) {
	g := r.group
	g.ranked.remove(r)
	g.waited.remove(r)
	r.group = nil
	q.gone++
	if g.Len() == 0 {
		q.unlist(g)
	}
	q.place(g)
}

func (q *Queue) unlist(g *Group) {
	last := len(q.groups) - 1
	q.groups[g.listed] = q.groups[last]
	q.groups[g.listed].listed = g.listed
	q.groups[last] = nil
	q.groups = q.groups[:last]
	g.listed = -1
}

// SetOpen says whether the requests of a group can go on.
func (q *Queue) SetOpen(g *Group, open bool) {
	if g.open != open {
		g.open = open
		q.place(g)
	}
}

// SetHeavy says whether what a group waits for is better not done beside its
// like; see Peek.
func (q *Queue) SetHeavy(g *Group, heavy bool) {
	if g.heavy == heavy {
		return
	}
	q.heap(g).remove(g)
	g.heavy = heavy
	q.place(g)
}

func (q *Queue) heap(g *Group) *heap[*Group, byBest] {
	if g.heavy {
		return &q.best[1]
	}
	return &q.best[0]
}

// place puts a group where it belongs now.
func (q *Queue) place(g *Group) {
	best := q.heap(g)
	if !g.open || g.Len() == 0 {
		best.remove(g)
		q.oldest.remove(g)
		return
	}
	best.put(g)
	q.oldest.put(g)
}

// Peek returns the open group whose turn it is, nil if there is none, and whether
// models in use should give way for it. With spareHeavy a light group goes before
// a heavy one, but for one that was passed over often enough.
func (q *Queue) Peek(now time.Duration, spareHeavy bool) (g *Group, pressing bool) {
	r, pressing := q.peek(now, spareHeavy)
	if r == nil {
		return nil, false
	}
	return r.group, pressing
}

// PeekAmong is Peek where only some of the groups may go on, and none presses. It
// looks at all of them.
func (q *Queue) PeekAmong(now time.Duration, spareHeavy bool, may func(*Group) bool) *Group {
	q.keepUp(now)
	var best *Request
	for _, g := range q.groups {
		if !g.open || !may(g) {
			continue
		}
		if r := q.bestOf(now, g); best == nil || ahead(r, best, spareHeavy) {
			best = r
		}
	}
	if best == nil {
		return nil
	}
	return best.group
}

func ahead(a, b *Request, spareHeavy bool) bool {
	if spareHeavy && a.group.heavy != b.group.heavy {
		return b.group.heavy
	}
	return before(a, b)
}

// Next takes out the request whose turn it is; nil if no group is open.
func (q *Queue) Next(now time.Duration) *Request {
	r, _ := q.peek(now, false)
	if r != nil {
		q.Remove(r)
	}
	return r
}

// PeekOf returns the request of a group whose turn it is in it; nil if none waits.
func (q *Queue) PeekOf(now time.Duration, g *Group) *Request {
	if g.Len() == 0 {
		return nil
	}
	q.keepUp(now)
	return q.bestOf(now, g)
}

func (q *Queue) peek(now time.Duration, spareHeavy bool) (r *Request, pressing bool) {
	q.keepUp(now)
	if q.oldest.empty() {
		return nil, false
	}
	if r := q.oldest.top().waited.top(); r.turn+q.passes <= q.gone {
		return r, true
	}
	light, heavy := q.bestIn(now, &q.best[0]), q.bestIn(now, &q.best[1])
	r = light
	if light == nil || heavy != nil && !spareHeavy && before(heavy, light) {
		r = heavy
	}
	return r, r.rank.Press <= now
}

// bestIn returns the best request of all groups in a heap.
func (q *Queue) bestIn(now time.Duration, groups *heap[*Group, byBest]) *Request {
	for !groups.empty() {
		g := groups.top()
		if r := q.bestOf(now, g); g == groups.top() {
			return r
		}
	}
	return nil
}

// bestOf returns the best request of a group. Ranks get worse only, so one whose
// time has passed need not be looked at before it is the best.
func (q *Queue) bestOf(now time.Duration, g *Group) *Request {
	for {
		r := g.ranked.top()
		if now < r.rank.Until {
			return r
		}
		r.rank = q.policy.Rank(now, r)
		g.ranked.put(r)
		q.place(g)
	}
}

// keepUp ranks everything anew where the policy has changed its mind.
func (q *Queue) keepUp(now time.Duration) {
	round := q.policy.Round(now)
	if round == q.round {
		return
	}
	q.round = round
	for _, g := range q.groups {
		for _, r := range g.ranked.items {
			r.rank = q.policy.Rank(now, r)
		}
		g.ranked.rebuild()
	}
	q.best[0].rebuild()
	q.best[1].rebuild()
}

func before(a, b *Request) bool {
	return cmp.Or(a.rank.compare(b.rank), cmp.Compare(a.Number, b.Number)) < 0
}

// byRank has the request on top that the policy prefers.
type byRank struct{}

func (byRank) before(a, b *Request) bool { return before(a, b) }
func (byRank) place(r *Request) *int     { return &r.ranked }

// byTurn has the request on top that has waited here for longest.
type byTurn struct{}

func (byTurn) before(a, b *Request) bool { return a.turn < b.turn }
func (byTurn) place(r *Request) *int     { return &r.waited }

// byBest has the group on top whose best request the policy prefers.
type byBest struct{}

func (byBest) before(a, b *Group) bool { return before(a.ranked.top(), b.ranked.top()) }
func (byBest) place(g *Group) *int     { return &g.best }

// byOldest has the group on top in which a request has waited for longest.
type byOldest struct{}

func (byOldest) before(a, b *Group) bool { return a.waited.top().turn < b.waited.top().turn }
func (byOldest) place(g *Group) *int     { return &g.oldest }

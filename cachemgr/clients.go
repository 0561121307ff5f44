package cachemgr

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// This file counts how the functions fare. Every request that came counts for its
// function, whatever became of it.

// target is the share of a function's requests that should be answered in time.
const target = 0.98

// client is who sent a request, and until when an answer is worth something.
type client struct {
	function *queue.Function // nil is nobody
	deadline time.Duration   // since Manager.began; 0 is no objective
}

// clock is the time of the queues, which knows no calendar.
func (m *Manager) clock() time.Duration { return time.Since(m.began) }

// of lets a ticket wait for a client's request.
func (t *ticket) of(c client, r *Request) {
	t.client, t.ask, t.rows = c, r, batchRows(r)
	t.Function, t.Deadline = c.function, c.deadline
}

// clientOf says who sent a request that came now or before.
func (m *Manager) clientOf(r *Request) (c client) {
	if r.Function != "" {
		c.function = m.book.Function(m.clock(), r.Function)
	}
	if r.SLO > 0 {
		c.deadline = r.Arrived.Sub(m.began) + r.SLO
	}
	return c
}

// count counts a request that has ended now.
func (m *Manager) count(c client, err error) {
	if c.function == nil {
		return
	}
	now := m.clock()
	c.function.Count(now, err == nil && (c.deadline == 0 || now <= c.deadline))
}

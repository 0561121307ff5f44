package cachemgr

import "time"

// hold lets the first request of a batch wait for others, where Config.BatchDelay
// says so. Guarded by Manager.mu.
type hold struct {
	on   bool
	rows int64 // of the requests that wait
	turn uint64
}

// holdBack begins, extends or ends the hold of a model's requests, one of which has
// just begun to wait for its turn. It ends when the batch is full, when the delay is
// over, or with a request that runs alone anyway.
func (m *Manager) holdBack(s *slot, t *ticket) {
	if m.cfg.BatchDelay == 0 {
		return
	}
	h, first := &s.hold, s.turn.Len() == 1
	h.rows += t.rows
	if first {
		h.rows = t.rows
	}
	switch {
	case t.alone || h.rows >= t.mostRows():
		h.on = false
	case first:
		h.on = true
		h.turn++
		turn := h.turn
		time.AfterFunc(m.cfg.BatchDelay, func() {
			m.mu.Lock()
			defer m.unlock()
			if h.on && h.turn == turn {
				h.on = false
				s.allowTurns()
				m.dispatch(s.dev)
			}
		})
	}
}

// waitsForOthers reports whether a request is one that could be held back.
func (m *Manager) waitsForOthers(r *Request) bool {
	return m.cfg.BatchDelay > 0 && batchRows(r) > 0
}

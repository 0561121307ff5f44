package cachemgr

import "time"

// Work is what a device did, and what waits for it. All counts only grow, but for
// those said to be of now.
type Work struct {
	Device string

	ForModel  int // requests that wait for their model, now
	ForTurn   int // requests whose model is there, and that wait to compute, now
	Transfers int // models on their way, now

	// Stalled is how long the device computed nothing while requests waited for
	// their model.
	Stalled time.Duration
	// Loads by what the model is: computing hides the swap of a light one, not that
	// of a heavy one. First loads, of which nothing is known, are light.
	Heavy, Light int64
	// Prefetched models, those of them that were used before they left, and those
	// that were not.
	Prefetched, Useful, Wasted int64
}

func (d *device) workDone(now time.Duration) Work {
	w := d.work
	w.Device = string(d.ID)
	w.ForModel, w.ForTurn, w.Transfers = d.loads.Len(), d.turns.Len(), d.link.transfers
	w.Stalled = d.stall.until(now)
	return w
}

// stall adds up the time in which something was so.
type stall struct {
	on    bool
	since time.Duration
	total time.Duration
}

func (s *stall) set(now time.Duration, on bool) {
	if s.on == on {
		return
	}
	if s.on {
		s.total += now - s.since
	}
	s.on, s.since = on, now
}

func (s *stall) until(now time.Duration) time.Duration {
	if s.on {
		return s.total + now - s.since
	}
	return s.total
}

// look notes whether a device stalls, after what waits or runs there has changed.
func (m *Manager) look(d *device) {
	if on := d.running == 0 && d.loads.Len() > 0; on != d.stall.on {
		d.stall.set(m.clock(), on)
	}
}

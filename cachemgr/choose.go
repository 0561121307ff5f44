package cachemgr

import "github.com/faas-gpu/faas-gpu/cachemgr/engine"

// candidate is what the choice of a device for one request looks at.
type candidate struct {
	id       engine.DeviceID
	usable   bool  // neither lost nor too small, and the model has not failed there
	resident bool  // the model is ready to run there
	coming   bool  // the model is on its way there
	busy     int   // requests that run or wait there
	room     int64 // bytes not taken
}

// choose returns the index of the device that serves a request, or -1 if none is
// usable: the one hinted at, else one where the model is or will soon be, the
// least busy of them first, else the one with most room.
func choose(hint engine.DeviceID, candidates []candidate) int {
	best := -1
	for i, c := range candidates {
		if !c.usable {
			continue
		}
		if hint != "" && c.id == hint {
			return i
		}
		if best < 0 || c.better(candidates[best]) {
			best = i
		}
	}
	return best
}

// better reports whether c is strictly the better choice.
func (c candidate) better(than candidate) bool {
	switch {
	case c.resident != than.resident:
		return c.resident
	case !c.resident && c.coming != than.coming:
		return c.coming
	case c.resident || c.coming:
		return c.busy < than.busy
	default:
		return c.room > than.room
	}
}

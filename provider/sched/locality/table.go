package locality

import "github.com/faas-gpu/faas-gpu/provider/sched"

// table finds requests by their id. Unlike a map it never allocates while there
// are no more requests than there once were: ids come and go all the time.
// Collisions go to the next slot.
type table struct {
	slots []*request // a power of two, at most half of them used
	used  int
}

func (t *table) home(id sched.RequestID) int {
	const golden = 0x9E3779B97F4A7C15 // spreads ids that follow each other
	return int(uint64(id) * golden >> 32 & uint64(len(t.slots)-1))
}

func (t *table) find(id sched.RequestID) *request {
	if t.used == 0 {
		return nil
	}
	for i := t.home(id); ; i = (i + 1) & (len(t.slots) - 1) {
		if r := t.slots[i]; r == nil || r.id == id {
			return r
		}
	}
}

func (t *table) put(r *request) {
	if 2*t.used >= len(t.slots) {
		old := t.slots
		t.slots, t.used = make([]*request, max(64, 2*len(old))), 0
		for _, r := range old {
			if r != nil {
				t.put(r)
			}
		}
	}
	i := t.home(r.id)
	for t.slots[i] != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = r
	t.used++
}

// remove takes id out, which is there, and closes the gap: whatever a search
// would no longer find behind it moves up.
func (t *table) remove(id sched.RequestID) {
	mask := len(t.slots) - 1
	gap := t.home(id)
	for t.slots[gap].id != id {
		gap = (gap + 1) & mask
	}
	t.used--
	for i := (gap + 1) & mask; t.slots[i] != nil; i = (i + 1) & mask {
		if (i-t.home(t.slots[i].id))&mask >= (i-gap)&mask {
			t.slots[gap] = t.slots[i]
			gap = i
		}
	}
	t.slots[gap] = nil
}

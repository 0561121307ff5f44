package cachemgr

import (
	"maps"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// board is what is shown of a manager. A change costs a counter and a mark; what
// is to be seen is put together when somebody looks, from the models that have
// changed since. Guarded by Manager.mu, but for the last two fields.
type board struct {
	generation uint64
	changed    chan struct{} // closed at the next change; nil while nobody waits
	dirty      []*model      // changed since the last snapshot, known ones only
	removed    bool          // some model was forgotten since then

	building sync.Mutex // guards last; taken before Manager.mu
	last     Status
}

// next is closed at the next change.
func (b *board) next() <-chan struct{} {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// mark tells of a change in a model or in what waits for it.
func (m *Manager) mark(mod *model) {
	b := &m.board
	if !mod.dirty && !mod.gone {
		mod.dirty = true
		b.dirty = append(b.dirty, mod)
	}
	b.touch()
}

// unmark takes a forgotten model off.
func (m *Manager) unmark(mod *model) {
	b := &m.board
	b.dirty = without(b.dirty, mod)
	b.removed = true
	b.touch()
}

func (b *board) touch() {
	b.generation++
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Changed returns a channel that is closed once the status has a generation above
// after.
func (m *Manager) Changed(after uint64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.board.generation > after {
		now := make(chan struct{})
		close(now)
		return now
	}
	return m.board.next()
}

// Status returns a snapshot, which nobody may change. Without a change since the
// last one it is the same.
func (m *Manager) Status() Status {
	b := &m.board
	b.building.Lock()
	defer b.building.Unlock()
	next, changed, gone := m.changes()
	if next.Generation == b.last.Generation {
		return b.last
	}
	next.Models = make(map[string]ModelState, len(b.last.Models)+len(changed))
	maps.Copy(next.Models, b.last.Models)
	for _, digest := range gone {
		delete(next.Models, digest)
	}
	maps.Copy(next.Models, changed)
	b.last = next
	return next
}

// changes takes what has changed since the last snapshot; the caller holds
// board.building.
func (m *Manager) changes() (next Status, changed map[string]ModelState, gone []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &m.board
	next.Generation = b.generation
	if b.generation == b.last.Generation {
		return next, nil, nil
	}
	for _, d := range m.devices {
		next.Devices = append(next.Devices, d.status(m.cfg.Engine.Name(), m.cfg.Concurrency))
	}
	for _, d := range m.devices {
		next.Work = append(next.Work, d.workDone(m.clock()))
	}
	next.Host = api.PoolStatus{Budget: m.host.budget, Used: m.host.used}
	changed = make(map[string]ModelState, len(b.dirty))
	for _, mod := range b.dirty {
		mod.dirty = false
		changed[mod.Digest] = mod.status()
	}
	clear(b.dirty)
	b.dirty = b.dirty[:0]
	if b.removed {
		b.removed = false
		for digest := range b.last.Models {
			if m.models[digest] == nil {
				gone = append(gone, digest)
			}
		}
	}
	return next, changed, gone
}

func (d *device) status(engine string, slots int) api.DeviceStatus {
	return api.DeviceStatus{
		ID: string(d.ID), Name: d.Name, Kind: d.Kind, Engine: engine,
		Total: d.TotalBytes, Budget: d.ledger.budget,
		Resident: d.ledger.resident, Loading: d.ledger.loading,
		Draining: d.ledger.draining, Residual: d.ledger.residual,
		Reserved: d.ledger.reserved, Overhead: d.ledger.overhead, Kept: d.KeptBytes,
		Running: d.running, Queued: d.queued, Slots: slots,
	}
}

func (mod *model) status() ModelState {
	st := ModelState{
		Staged: mod.phase == staged, Pinned: mod.pinned, Estimated: true,
		Bytes: mod.deviceBytes(), Stats: mod.stats,
	}
	if st.Staged {
		st.StageNs = mod.openEnded.Sub(mod.openBegan).Nanoseconds()
	}
	if !mod.lastUsed.IsZero() {
		st.Stats.LastUsed = mod.lastUsed.UTC().Format(time.RFC3339Nano)
	}
	for _, s := range mod.slots {
		if s.known {
			st.Estimated = s.cost.Estimated
		}
		if i, ok := s.status(); ok {
			st.Instances = append(st.Instances, i)
		}
	}
	return st
}

// status of a model on a device; false where it is absent.
func (s *slot) status() (api.InstanceStatus, bool) {
	st := api.InstanceStatus{
		Device: string(s.dev.ID), Running: s.running,
		SwapNs: s.entry.Cost.Nanoseconds(), SwapBytes: s.entry.Size, Runs: s.runs, ComputeNs: s.computed.Nanoseconds(),
	}
	failed := &s.failure
	if failed.err == nil {
		failed = &s.model.failure // could not even be opened
	}
	switch {
	case s.state == slotLoading:
		st.State = api.StateLoading
	case s.state == slotResident:
		st.State = api.StateResident
	case s.state == slotDraining || s.state == slotClosing:
		st.State = api.StateDraining
	case failed.err != nil:
		st.State = api.StateFailed
		st.Reason = failed.err.Error()
		st.RetryAt = failed.retryAt.UTC().Format(time.RFC3339Nano)
	case s.residual > 0:
		st.State = api.StateParked
	default:
		return st, false
	}
	return st, true
}

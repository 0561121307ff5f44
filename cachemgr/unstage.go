package cachemgr

import (
	"log/slog"
	"math"
)

// emptyHost unstages what nobody uses, and reports whether anything leaves.
func (m *Manager) emptyHost() bool {
	m.retireHost(math.MaxInt64, (*model).unusedAnywhere)
	return m.host.closing > 0
}

// reclaimHost lets models leave until short bytes are on their way: first those
// that are on no device, then those that nobody uses there, then any; each in
// the order of the policy. A model with requests that wait for it stays.
func (m *Manager) reclaimHost(short int64) {
	for _, may := range []func(*model) bool{(*model).unusedAnywhere, (*model).unleased, (*model).unwanted} {
		if short <= 0 {
			return
		}
		short -= m.retireHost(short, may)
	}
}

// retireHost retires models that may leave until short bytes are on their way,
// and returns how many are.
func (m *Manager) retireHost(short int64, may func(*model) bool) (leaving int64) {
	var victims []*model
	for key := range m.host.order.Victims() {
		if leaving >= short {
			break
		}
		if mod := m.entries[key]; may(mod) {
			leaving += mod.hostBytes
			victims = append(victims, mod)
		}
	}
	for _, mod := range victims {
		m.retire(mod)
	}
	return leaving
}

// unwanted: it may leave once the requests that hold it are done.
func (mod *model) unwanted() bool {
	return mod.phase == staged && !mod.retiring && !mod.pinned &&
		!mod.anySlot(func(s *slot) bool { return s.state == slotLoading || s.want.Len() > 0 })
}

func (mod *model) unleased() bool {
	return mod.unwanted() && !mod.anySlot(func(s *slot) bool { return s.leases > 0 })
}

func (mod *model) unusedAnywhere() bool {
	return mod.unwanted() && !mod.anySlot((*slot).open)
}

// leavingHost is how many bytes host memory will get back.
func (m *Manager) leavingHost() (n int64) {
	for _, mod := range m.leaving {
		n += mod.hostBytes
	}
	return n
}

// retire makes a model leave its devices and then host memory. Requests that
// wait for it to be loaded wait for it to be opened again instead.
func (m *Manager) retire(mod *model) {
	if mod.phase == onDisk && mod.gone {
		m.unqueueOpen(mod)
	}
	if mod.retiring || mod.phase == onDisk || mod.phase == unstaging {
		return
	}
	mod.retiring = true
	m.leaving = append(m.leaving, mod)
	m.mark(mod)
	for _, s := range mod.slots {
		if s.queued {
			m.unqueueLoad(s)
			m.backToModel(s)
		}
		if s.state == slotResident {
			m.drain(s)
		}
	}
	m.unstageIfUnused(mod)
}

// retired ends that, if it was so: the model is on disk.
func (m *Manager) retired(mod *model) {
	mod.unstagings++
	if mod.retiring {
		mod.retiring = false
		m.leaving = without(m.leaving, mod)
	}
}

// backToModel makes a slot's tickets wait for the model to be opened.
func (m *Manager) backToModel(s *slot) {
	for _, t := range byArrival(ticketsOf(&s.want)) {
		s.dev.loads.Remove(&t.Request)
		t.at, t.slot = atModel, nil
		s.model.waiting = append(s.model.waiting, t)
	}
	m.look(s.dev)
	m.queueOpen(s.model)
}

// unstageIfUnused gives a retiring model's host memory back once no device has
// it any more.
func (m *Manager) unstageIfUnused(mod *model) {
	if !mod.retiring || mod.phase != staged || mod.anySlot((*slot).open) {
		return
	}
	mod.phase = unstaging
	m.host.closing++
	m.host.order.Remove(mod.key)
	st, name := mod.staged, mod.Name
	m.background(func() func() {
		err := st.Close()
		return func() {
			if err != nil {
				m.say(slog.LevelWarn, "host memory may not have been given back", "model", name, "error", err)
			}
			m.unstaged(mod)
		}
	})
}

func (m *Manager) unstaged(mod *model) {
	m.host.closing--
	m.host.used -= mod.hostBytes
	mod.phase, mod.staged, mod.hostBytes = onDisk, nil, 0
	m.retired(mod)
	for _, s := range mod.slots {
		m.unforesee(s)
		s.dev.ledger.unstaged(s.residual)
		s.residual = 0
	}
	if len(mod.waiting) > 0 {
		m.queueOpen(mod)
	}
	m.dropIfGone(mod)
	m.mark(mod)
}

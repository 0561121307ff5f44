package cachemgr

import (
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// deviceBytes is what a model takes on a device; the file's size as long as nothing
// better is known.
func (mod *model) deviceBytes() int64 {
	n, known := int64(0), false
	for _, s := range mod.slots {
		if s.known {
			n, known = max(n, s.cost.Resident), true
		}
	}
	if !known {
		return mod.Size
	}
	return n
}

func (m *Manager) unpin(mod *model) {
	mod.pinned = false
	m.pinned = without(m.pinned, mod)
	mod.countIdle()
}

func (mod *model) countIdle() {
	for _, s := range mod.slots {
		s.countIdle()
	}
}

// checkPins holds pinned models to half of the budgets, so that the others never
// starve.
func (m *Manager) checkPins() error {
	var onDevices, onHost, budget int64
	for _, d := range m.devices {
		budget += d.ledger.budget
	}
	for _, mod := range m.pinned {
		onDevices += mod.deviceBytes()
		onHost += mod.openCost()
	}
	if onDevices > budget/2 {
		return fmt.Errorf("pinned models would take %d bytes, at most %d (half of the device budget) may be: %w", onDevices, budget/2, engine.ErrNoMemory)
	}
	if onHost > m.host.budget/2 {
		return fmt.Errorf("pinned models would take %d bytes of host memory, at most %d (half of its budget) may be: %w", onHost, m.host.budget/2, engine.ErrNoMemory)
	}
	return nil
}

// pinnedOn is how many bytes of a device cannot be reclaimed for a slot.
func (m *Manager) pinnedOn(d *device, but *slot) (n int64) {
	for _, mod := range m.pinned {
		if s := mod.slots[d.index]; s != but {
			n += s.bytes()
		}
	}
	return n
}

// pinnedHost is how many bytes of host memory cannot be reclaimed for a model.
func (m *Manager) pinnedHost(but *model) (n int64) {
	for _, mod := range m.pinned {
		if mod != but {
			n += mod.hostBytes
		}
	}
	return n
}

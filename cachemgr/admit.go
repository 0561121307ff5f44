package cachemgr

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// This file says which device a call gets, or why it is refused at once.

// route finds the device for a request, or says why there is none.
func (m *Manager) route(mod *model, hint engine.DeviceID, now time.Time) (*device, error) {
	var few [4]candidate // on the stack, as long as there are no more devices
	candidates := few[:0]
	for _, s := range mod.slots {
		d := s.dev
		candidates = append(candidates, candidate{
			id:       d.ID,
			usable:   !d.loss.holds(now) && !s.failure.holds(now) && !s.tooLarge(),
			resident: s.state == slotResident,
			coming:   s.state == slotLoading || s.queued,
			busy:     d.running + d.queued,
			room:     d.ledger.room(),
		})
	}
	if i := choose(hint, candidates); i >= 0 {
		return m.devices[i], nil
	}
	return nil, mod.refusal(hint, now)
}

func (s *slot) tooLarge() bool { return s.known && s.cost.Peak > s.dev.ledger.limit() }

// refusal says why no device is usable: of the one hinted at, else of the first.
func (mod *model) refusal(hint engine.DeviceID, now time.Time) error {
	s := mod.slots[0]
	for _, other := range mod.slots {
		if other.dev.ID == hint {
			s = other
		}
	}
	switch {
	case s.failure.holds(now):
		return s.failure.asError()
	case s.dev.loss.holds(now):
		return s.dev.loss.asError()
	default:
		return deviceTooSmall(s, 0)
	}
}

// admit finds the model and the device of a new call.
func (m *Manager) admit(digest string, hint engine.DeviceID, now time.Time) (*model, *device, error) {
	mod, err := m.find(digest)
	if err != nil {
		return nil, nil, err
	}
	if err := m.refuseOpen(mod, now); err != nil {
		return nil, nil, err
	}
	d, err := m.route(mod, hint, now)
	return mod, d, err
}

// refuseOpen says why a model that is not in host memory will not be opened.
func (m *Manager) refuseOpen(mod *model, now time.Time) error {
	switch {
	case mod.phase != onDisk:
		return nil
	case mod.failure.holds(now):
		return mod.failure.asError()
	case mod.openCost() > m.host.budget:
		return m.hostTooSmall(mod, mod.openCost(), 0)
	}
	return nil
}

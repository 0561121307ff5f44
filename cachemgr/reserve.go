package cachemgr

import (
	"context"
	"fmt"
	"sync"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Reserve sets bytes of a device aside for somebody beside the models, as the
// builder of their engines, and returns once models have made room, and the driver
// has what the engine keeps for reuse; they cannot
// have these bytes until release is called. ErrNoMemory: there are never that
// many; ErrUnavailable: no such device; ErrClosed; ctx's.
func (m *Manager) Reserve(ctx context.Context, id engine.DeviceID, bytes int64) (release func(), err error) {
	d, err := m.setAside(id, bytes)
	if err != nil {
		return nil, fmt.Errorf("reserve memory: %w", err)
	}
	endLoan := func() {}
	release = sync.OnceFunc(func() {
		endLoan()
		m.mu.Lock()
		defer m.unlock()
		d.ledger.reserved -= bytes
		m.board.touch()
		m.pump()
	})
	if err = m.await(ctx, func() bool { return m.closed || d.ledger.room() >= 0 }); err == nil {
		err = m.ended()
	}
	if lender, ok := m.cfg.Engine.(engine.Lender); ok && err == nil {
		var end func()
		if end, err = lender.Lend(id, bytes); err == nil {
			endLoan = end
		}
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("reserve memory: %w", err)
	}
	return release, nil
}

// setAside counts bytes at once: then no load that comes later gets them, and pump
// lets models leave until the ledger is below its budget again.
func (m *Manager) setAside(id engine.DeviceID, bytes int64) (*device, error) {
	m.mu.Lock()
	defer m.unlock()
	for _, d := range m.devices {
		if d.ID != id {
			continue
		}
		most := d.ledger.limit() - d.ledger.reserved - m.pinnedOn(d, nil)
		switch {
		case m.closed:
			return nil, ErrClosed
		case bytes < 0 || bytes > most:
			return nil, fmt.Errorf("%d bytes of %s are wanted, at most %d can be had: %w", bytes, id, most, engine.ErrNoMemory)
		}
		d.ledger.reserved += bytes
		m.board.touch()
		m.pump()
		return d, nil
	}
	return nil, fmt.Errorf("there is no device %q: %w", id, engine.ErrUnavailable)
}

func (m *Manager) ended() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	return nil
}

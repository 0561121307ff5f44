package cachemgr

import (
	"context"
	"fmt"
)

// Close refuses new calls, waits for those that were admitted and then gives all
// bytes back. Once ctx ends it fails what still waits with ErrClosed and ends
// opening and loading; what runs is the business of its own context. If bytes are
// still held then, Close says so, and may be called again to wait for the rest.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	if m.wake != nil {
		m.wake.Stop()
	}
	m.board.touch()
	m.mu.Unlock()

	// Both waits look before they look at ctx.
	_ = m.await(ctx, func() bool { return m.calls == 0 })
	m.stop()
	m.mu.Lock()
	for _, mod := range m.entries {
		m.failWaiting(mod, ErrClosed)
		m.retire(mod)
	}
	for _, d := range m.devices {
		m.failTurns(d, ErrClosed)
	}
	m.board.touch()
	m.mu.Unlock()

	err := m.await(ctx, m.empty)
	if err == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Errorf("%d requests and %d engine calls are still going on: %w", m.calls, m.ops, err)
}

// empty reports whether the manager holds nothing any more.
func (m *Manager) empty() bool {
	for _, mod := range m.entries {
		if mod.phase != onDisk {
			return false
		}
	}
	return m.ops == 0 && m.calls == 0
}

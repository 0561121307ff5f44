package server

import (
	"fmt"
	"sync/atomic"
)

// memory bounds what all requests under way take together, so that many large
// ones that wait, or come slowly, cannot use up the host's memory.
type memory struct {
	limit int64
	used  atomic.Int64
}

// take sets n bytes aside. It does not wait: whoever would have to, would hold
// its connection and its turn while others that are smaller fit.
func (m *memory) take(n int64) error {
	if m.used.Add(n) > m.limit {
		m.used.Add(-n)
		return fmt.Errorf("%w: the bodies and outputs of all requests may have %d bytes together", errBusy, m.limit)
	}
	return nil
}

// give ends what take began.
func (m *memory) give(n int64) { m.used.Add(-n) }

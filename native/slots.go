package native

import (
	"context"
	"slices"
	"sync"
)

// slots hands out the numbers of the runs that a device allows at once. A program
// that keeps its slot keeps its addresses, and what was prepared for them.
type slots struct {
	free chan struct{} // a token for each slot that no Run has

	mu      sync.Mutex
	numbers []uint32
}

func newSlots(n int) *slots {
	s := &slots{free: make(chan struct{}, n)}
	for number := range n {
		s.numbers = append(s.numbers, uint32(n-1-number))
		s.free <- struct{}{}
	}
	return s
}

// take waits for a slot until ctx ends. It is the preferred one if that is free,
// and else the one that came back last.
func (s *slots) take(ctx context.Context, preferred uint32) (uint32, error) {
	select {
	case <-s.free:
	default:
		select {
		case <-s.free:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.numbers, preferred)
	if at < 0 {
		at = len(s.numbers) - 1
	}
	number := s.numbers[at]
	s.numbers = slices.Delete(s.numbers, at, at+1)
	return number, nil
}

func (s *slots) give(number uint32) {
	s.mu.Lock()
	s.numbers = append(s.numbers, number)
	s.mu.Unlock()
	s.free <- struct{}{}
}

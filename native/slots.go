package native

import (
	"context"
	"sync"
)

// slots hands out the numbers of the runs that a device allows at once. The one
// that came back last goes out first: a program that keeps its slot keeps its
// addresses, and what was prepared for them.
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

// take waits for a slot until ctx ends.
func (s *slots) take(ctx context.Context) (uint32, error) {
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
	last := len(s.numbers) - 1
	number := s.numbers[last]
	s.numbers = s.numbers[:last]
	return number, nil
}

func (s *slots) give(number uint32) {
	s.mu.Lock()
	s.numbers = append(s.numbers, number)
	s.mu.Unlock()
	s.free <- struct{}{}
}

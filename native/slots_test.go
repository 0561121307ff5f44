package native

import (
	"context"
	"errors"
	"testing"
)

func TestSlots(t *testing.T) {
	s := newSlots(3)
	take := func(preferred, want uint32) {
		t.Helper()
		if got, err := s.take(t.Context(), preferred); err != nil || got != want {
			t.Fatalf("got slot %d, %v; want %d", got, err, want)
		}
	}
	take(0, 0)
	take(2, 2)
	take(2, 1) // taken, so any
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.take(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	s.give(0)
	s.give(1)
	take(2, 1) // the last one that came back
	take(0, 0)
}

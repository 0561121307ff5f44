package region

import (
	"errors"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

// Regions of a function that is gone end with its connections, but not under a
// request; it cannot come back, and others do not notice.
func TestRegionsEndWithTheirFunction(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	alice, bob := s.dial("alice"), s.dial("bob")
	name, err := alice.Register(s.memory(5000))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := bob.Register(s.memory(5000))
	if err != nil {
		t.Fatal(err)
	}
	held, err := s.Pool.Use(function("alice"), name)
	if err != nil {
		t.Fatal(err)
	}
	gone := "alice"
	s.gone.Store(&gone)
	s.EndGone()
	s.until("alice's region to end", func() bool { n, _ := s.Pool.Usage(); return n == 1 })
	if data, err := held.Slice(4000, 1); err != nil || data[0] != 0 {
		t.Errorf("a request reads %v, %v", data, err)
	}
	held.Release()
	if _, err := alice.Register(s.memory(5000)); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("over the connection that has ended: %v", err)
	}
	if _, err := shm.Dial(t.Context(), s.socket, "alice"); status(err) != 401 {
		t.Errorf("over another one: %v", err)
	}
	if err := bob.Unregister(kept); err != nil {
		t.Errorf("of another function: %v", err)
	}
}

// Regions end with the token that they were registered by.
func TestRegionsEndWithTheirToken(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	expires := time.Now().Add(200 * time.Millisecond)
	s.expires.Store(expires.UnixNano())
	c := s.dial("alice")
	if _, err := c.Register(s.memory(5000)); err != nil {
		t.Fatal(err)
	}
	s.until("the token to expire", s.empty)
	if left := time.Until(expires); left > 0 {
		t.Errorf("%v too early", left)
	}
	if _, err := c.Register(s.memory(5000)); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("after that: %v", err)
	}
}

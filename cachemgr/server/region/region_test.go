package region

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

func TestRegionsOfTwoFunctions(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	alice, bob := s.dial("alice"), s.dial("bob")
	if alice.Epoch() != "e" {
		t.Errorf("the epoch is %q", alice.Epoch())
	}
	m := s.memory(10000)
	name, err := alice.Register(m)
	if err != nil {
		t.Fatal(err)
	}
	copy(m.Data[4096:], "hello")
	r, err := s.Pool.Use(function("alice"), name)
	if err != nil {
		t.Fatal(err)
	}
	part, err := r.Slice(4096, 5)
	if err != nil || string(part) != "hello" || cap(part) != 5 {
		t.Fatalf("the region holds %q, %v", part, err)
	}
	copy(part, "HELLO")
	if string(m.Data[4096:4101]) != "HELLO" {
		t.Error("the function does not see what was written")
	}
	if _, err := s.Pool.Use(function("bob"), name); !errors.Is(err, ErrUnknown) {
		t.Errorf("another function gets %v", err)
	}
	if err := bob.Unregister(name); status(err) != 404 {
		t.Errorf("another function unregisters it: %v", err)
	}
	if list := s.Pool.List(function("alice")); len(list) != 1 || list[0] != (Info{name, 10000}) {
		t.Errorf("the list is %v", list)
	}
	if list := s.Pool.List(function("bob")); len(list) != 0 {
		t.Errorf("another function's list is %v", list)
	}
	if err := alice.Unregister(name); err != nil {
		t.Error(err)
	}
	if err := alice.Unregister(name); status(err) != 404 {
		t.Errorf("unregistered twice: %v", err)
	}
	if _, err := s.Pool.Use(function("alice"), name); !errors.Is(err, ErrUnknown) {
		t.Errorf("after its end: %v", err)
	}
	if string(part) != "HELLO" || s.empty() {
		t.Error("a request has lost its region")
	}
	r.Release()
	if !s.empty() {
		t.Error("the region is still there")
	}
}

func TestSlice(t *testing.T) {
	r := &Region{name: "r", data: make([]byte, 100)}
	const most = 1<<63 - 1
	for _, tt := range []struct {
		offset, size int64
		ok           bool
	}{
		{0, 100, true}, {100, 0, true}, {99, 1, true}, {0, 0, true}, {1, 100, false}, {101, 0, false},
		{0, 101, false}, {most, 1, false}, {1, most, false}, {most, most, false},
	} {
		if data, err := r.Slice(tt.offset, tt.size); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRange) || err == nil && data == nil {
			t.Errorf("%d bytes from %d on: %v, %v", tt.size, tt.offset, data, err)
		}
	}
}

func TestRegionsEndWithTheirConnection(t *testing.T) {
	s := serve(t, roomy, time.Minute)
	c := s.dial("alice")
	names := make([]string, 3000)
	for i := range names {
		m, err := shm.New(4096)
		if err != nil {
			t.Fatal(err)
		}
		m.Data[0] = byte(i)
		names[i], err = c.Register(m)
		m.Close()
		if err != nil {
			t.Fatalf("region %d: %v", i, err)
		}
	}
	var held []*Region
	for i := 0; i < len(names); i += 100 {
		r, err := s.Pool.Use(function("alice"), names[i])
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, r)
	}
	c.Close()
	s.until("the names to go", func() bool { n, _ := s.Pool.Usage(); return n == 0 })
	for i, r := range held {
		if data, err := r.Slice(0, 1); err != nil || data[0] != byte(100*i) {
			t.Errorf("a request reads %v, %v", data, err)
		}
		r.Release()
	}
	s.until("the bytes to go", s.empty)
}

func TestQuotas(t *testing.T) {
	s := serve(t, Config{Total: 300 << 10, Each: 200 << 10}, time.Minute)
	alice, bob := s.dial("alice"), s.dial("bob")
	first, err := alice.Register(s.memory(130 << 10))
	if err != nil {
		t.Fatal(err)
	}
	// Another replica of it shares its quota.
	if _, err := s.dial("alice").Register(s.memory(80 << 10)); status(err) != 507 || !strings.Contains(err.Error(), "this function has 133120 bytes") {
		t.Errorf("more than a function may have: %v", err)
	}
	if _, err := bob.Register(s.memory(180 << 10)); status(err) != 507 || !strings.Contains(err.Error(), "all functions have 133120 bytes") {
		t.Errorf("more than all may have: %v", err)
	}
	for range 2 { // one byte counts like 64 KiB
		if _, err := bob.Register(s.memory(1)); err != nil {
			t.Error(err)
		}
	}
	if _, err := bob.Register(s.memory(1)); status(err) != 507 {
		t.Errorf("too many small ones: %v", err)
	}
	// A refusal costs nothing that was there, and what is given back can be had.
	if err := alice.Unregister(first); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Register(s.memory(150 << 10)); err != nil {
		t.Error(err)
	}
}

// pins counts what is pinned.
type pins struct {
	mu   sync.Mutex
	held map[*byte]int
	err  error
}

func (p *pins) Pin(b []byte) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	p.held[&b[0]] = len(b)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		b[0]++ // it is still mapped
		delete(p.held, &b[0])
	}, nil
}

func (p *pins) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

func TestRegionsArePinnedOnce(t *testing.T) {
	p := &pins{held: map[*byte]int{}}
	s := serve(t, Config{Total: 1 << 20, Each: 1 << 20, Pinner: p}, time.Minute)
	c := s.dial("alice")
	name, err := c.Register(s.memory(5000))
	if err != nil || p.count() != 1 {
		t.Fatalf("%d regions are pinned, %v", p.count(), err)
	}
	r, err := s.Pool.Use(function("alice"), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unregister(name); err != nil || p.count() != 1 {
		t.Errorf("while a request uses it %d are pinned, %v", p.count(), err)
	}
	r.Release()
	if p.count() != 0 {
		t.Errorf("at the end %d are pinned", p.count())
	}
	p.err = errors.New("the system does not pin that much")
	if _, err := c.Register(s.memory(5000)); err != nil {
		t.Errorf("what cannot be pinned cannot be shared: %v", err)
	}
}

// Clients that come and go while requests use what they share leave nothing.
func TestManyAtOnce(t *testing.T) {
	s := serve(t, Config{Total: 1 << 30, Each: 1 << 30, Pinner: &pins{held: map[*byte]int{}}}, time.Minute)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 20 {
				c, err := shm.Dial(t.Context(), s.socket, "alice")
				if err != nil {
					t.Error(err)
					return
				}
				m, err := shm.New(8192)
				if err != nil {
					t.Error(err)
					return
				}
				name, err := c.Register(m)
				if err != nil {
					t.Error(err)
					return
				}
				var users sync.WaitGroup
				for range 3 {
					users.Go(func() {
						r, err := s.Pool.Use(function("alice"), name)
						if err != nil {
							return // the connection was faster
						}
						data, _ := r.Slice(4096, 1)
						runtime.Gosched()
						_ = data[0]
						r.Release()
					})
				}
				c.Close()
				m.Close()
				users.Wait()
			}
		})
	}
	work.Wait()
	s.until("all to go", s.empty)
}

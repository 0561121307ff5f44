package shm_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/server"
)

const picture = 602112

func TestLargeTensorsAreShared(t *testing.T) {
	s := startNode(t, picture, server.Limits{})
	c := s.client(64<<20, quiet)
	into := make([]byte, picture)
	for i := range 5 {
		var outputs []oip.Output
		if i > 2 {
			outputs = []oip.Output{{Name: "y", Into: into}}
		}
		if err := infer(t.Context(), c, picture, outputs...); err != nil {
			t.Fatal(err)
		}
	}
	s.want(5, 5)
	if regions, size := s.server.Regions().Usage(); regions > 2 || size > 4<<20 {
		t.Errorf("%d regions of %d bytes are in use", regions, size)
	}
}

func TestSmallTensorsAreNotShared(t *testing.T) {
	s := startNode(t, 1000, server.Limits{})
	if err := infer(t.Context(), s.client(64<<20, quiet), 1000); err != nil {
		t.Fatal(err)
	}
	s.want(0, 1)
}

// Outputs of which only the run tells the size come in the answer.
func TestOutputsOfAnySize(t *testing.T) {
	s := startNode(t, -1, server.Limits{})
	c := s.client(64<<20, quiet)
	for _, n := range []int{picture, 100, 1 << 20, 64 << 10} {
		if err := infer(t.Context(), c, n); err != nil {
			t.Fatal(err)
		}
	}
	s.want(3, 4)
}

func TestWithoutSharedMemory(t *testing.T) {
	for name, limit := range map[string]int64{"the socket is not there": 64 << 20, "none is wanted": 0, "too little is wanted": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			s := startNode(t, picture, server.Limits{})
			if limit == 64<<20 {
				s.stop()
				s.start(false)
			}
			var log strings.Builder
			c := s.client(limit, slog.New(slog.NewTextHandler(&log, nil)))
			for range 3 {
				if err := infer(t.Context(), c, picture); err != nil {
					t.Fatal(err)
				}
			}
			if limit == 1<<20 { // the input alone fits, before the outputs are known
				s.want(1, 3)
				return
			}
			s.want(0, 3)
			if n := strings.Count(log.String(), "memory is not shared"); limit == 0 && n != 0 || limit != 0 && n != 1 {
				t.Errorf("the log says so %d times: %s", n, log.String())
			}
		})
	}
}

func TestQuotaOfTheNode(t *testing.T) {
	s := startNode(t, picture, server.Limits{SharedEach: 1 << 20})
	var log strings.Builder
	c := s.client(64<<20, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		if err := infer(t.Context(), c, picture); err != nil {
			t.Fatal(err)
		}
	}
	if s.total.Load() != 3 || !strings.Contains(log.String(), "too much shared memory") {
		t.Errorf("%d requests, the log says %q", s.total.Load(), log.String())
	}
}

// A cache manager that has ended takes its regions with it; the next one gets new
// ones, and no request fails for that.
func TestRestartOfTheNode(t *testing.T) {
	s := startNode(t, picture, server.Limits{})
	c := s.client(64<<20, quiet)
	for range 3 {
		if err := infer(t.Context(), c, picture); err != nil {
			t.Fatal(err)
		}
	}
	s.stop()
	if err := infer(t.Context(), c, picture); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("while it is away: %v", err)
	}
	s.start(true)
	for range 3 {
		if err := infer(t.Context(), c, picture); err != nil {
			t.Fatal(err)
		}
	}
	if s.total.Load() != 6 || s.shared.Load() < 5 {
		t.Errorf("%d of %d requests were in shared memory", s.shared.Load(), s.total.Load())
	}
}

// What a request that was given up may still write to is not used again.
func TestAbandonedRequest(t *testing.T) {
	s := startNode(t, picture, server.Limits{})
	c := s.client(64<<20, quiet)
	for range 2 {
		if err := infer(t.Context(), c, picture); err != nil {
			t.Fatal(err)
		}
	}
	gate := make(chan struct{})
	s.gate.Store(&gate)
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() { given <- infer(ctx, c, picture) }()
	waitFor(t, func() bool { return s.total.Load() == 3 })
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("it is given up with %v", err)
	}
	s.gate.Store(nil)
	// Those that come now run beside the one that nobody waits for.
	for range 5 {
		if err := infer(t.Context(), c, picture); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	waitFor(t, func() bool { n, size := s.server.Regions().Usage(); return n <= 2 && size <= 4<<20 })
	s.want(8, 8)
}

func TestManyClientsAtOnce(t *testing.T) {
	s := startNode(t, -1, server.Limits{})
	c := s.client(8<<20, quiet)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 6 {
				if err := infer(t.Context(), c, 60_000+rand.IntN(400_000)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	if _, size := s.server.Regions().Usage(); size > 8<<20 {
		t.Errorf("%d bytes are shared", size)
	}
	c.Close()
	if err := infer(t.Context(), c, picture); err != nil {
		t.Errorf("after its end: %v", err)
	}
	waitFor(t, func() bool { n, size := s.server.Regions().Usage(); return n == 0 && size == 0 })
}

// Memory that no request has used for a while is given back, and taken again.
func TestIdleMemoryIsGivenBack(t *testing.T) {
	s := startNode(t, picture, server.Limits{})
	c := s.clientThatKeeps(20*time.Millisecond, 64<<20, quiet)
	for range 2 {
		for range 3 {
			if err := infer(t.Context(), c, picture); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, func() bool { n, size := s.server.Regions().Usage(); return n == 0 && size == 0 })
	}
	s.want(6, 6)
}

package cachemgr

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

var errInjected = errors.New("injected")

// stress runs random calls of many goroutines against a manager whose budgets
// hold a few of its models. The engine and the books are checked at every step.
type stress struct {
	*rig
	seed     uint64
	models   []string
	sizes    map[string]int64
	failures atomic.Bool // the engine fails now and then
	disturb  bool        // models are forgotten, unloaded and pinned meanwhile
	served   atomic.Int64
}

func newStress(t *testing.T, devices int, concurrency int, change ...func(*Config, *testengine.Engine)) *stress {
	s := &stress{seed: uint64(time.Now().UnixNano()), sizes: map[string]int64{}}
	t.Logf("seed %d", s.seed)
	s.rig = newRig(t, append(change, func(c *Config, e *testengine.Engine) {
		e.List = nil
		e.Budget = map[engine.DeviceID]int64{}
		for i := range devices {
			id := engine.DeviceID(fmt.Sprintf("gpu%d", i))
			e.List = append(e.List, engine.Device{ID: id, TotalBytes: 1000, FreeBytes: 1000})
			e.Budget[id] = 100
		}
		e.HostBudget, c.HostBudget = 300, 300
		c.Concurrency = concurrency
		c.BatchDelay = 50 * time.Microsecond
		c.RetryMin, c.RetryMax = time.Millisecond, 4*time.Millisecond
	})...)
	s.engine.Before, s.slo, s.batch = s.before, 2*time.Millisecond, 12
	random := s.random(0)
	for i := range 12 {
		name := fmt.Sprintf("m%d", i)
		size := 10 + random.Int64N(40)
		host := 10 + random.Int64N(50)
		s.models, s.sizes[name] = append(s.models, name), host
		s.addAs(name, testengine.Model{
			Cost: engine.Cost{
				Peak: size + random.Int64N(20), Resident: size, Residual: random.Int64N(5), Host: host,
			},
			Concurrency: 1 + random.IntN(3), MaxBatch: random.IntN(16),
		})
	}
	return s
}

func (s *stress) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, stream)) }

// before makes calls take a while, and fail if the test wants that.
func (s *stress) before(ctx context.Context, c testengine.Call) error {
	switch n := rand.IntN(200); {
	case n < 100:
		time.Sleep(time.Duration(n) * time.Microsecond)
	case s.failures.Load() && n < 104:
		return errInjected
	case s.failures.Load() && n < 108 && (c.Op == testengine.Open || c.Op == testengine.Load):
		return fmt.Errorf("injected: %w", engine.ErrNoMemory)
	case s.failures.Load() && n == 108 && c.Op != testengine.Open && c.Op != testengine.Unstage:
		return fmt.Errorf("injected: %w", engine.ErrDeviceLost)
	}
	return nil
}

// run lets clients make calls each.
func (s *stress) run(clients, calls int) {
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			random := s.random(uint64(c) + 1)
			for range calls {
				s.step(random)
			}
		})
	}
	wg.Wait()
	s.T.Logf("%d of %d requests served", s.served.Load(), clients*calls)
}

func (s *stress) step(random *rand.Rand) {
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	name := s.models[min(random.IntN(len(s.models)), random.IntN(len(s.models)))] // skewed
	impatient := random.IntN(8) == 0
	if impatient {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(500))*time.Microsecond)
		defer cancel()
	}
	var err error
	switch n := random.IntN(100); {
	case s.disturb && n < 3:
		if err = s.m.Forget(name); err == nil {
			err = s.m.Add(Model{Digest: name, Name: name, Path: name, Size: s.sizes[name]})
		}
	case s.disturb && n < 6:
		err = s.m.Unload(ctx, name)
	case s.disturb && n < 9:
		if err = s.m.Pin(name, n%2 == 0); errors.Is(err, engine.ErrNoMemory) {
			err = nil
		}
	case n < 12:
		err = s.m.Load(ctx, name, "")
	case n < 15:
		_, err = s.m.Spec(ctx, name)
	default:
		if _, err = s.infer(ctx, name); err == nil {
			s.served.Add(1)
		}
	}
	if err != nil && !s.expected(err, impatient) {
		s.Errorf("%s: %v", name, err)
	}
}

func (s *stress) expected(err error, impatient bool) bool {
	switch {
	case impatient && errors.Is(err, context.DeadlineExceeded):
		return true
	case s.failures.Load() && (errors.Is(err, errInjected) || errors.Is(err, engine.ErrNoMemory) || errors.Is(err, engine.ErrDeviceLost) || errors.Is(err, ErrFailed)):
		return true
	case s.disturb && (errors.Is(err, ErrUnknownModel) || errors.Is(err, engine.ErrNoMemory)): // pinned models hold the rest
		return true
	}
	return false
}

// ordered has an order of the queue, and one of eviction.
func ordered(q func(*queue.Book) queue.Policy, p func() policy.Order) func(*Config, *testengine.Engine) {
	return func(c *Config, _ *testengine.Engine) {
		c.Queue, c.Policy, c.Passes = q, p, 20
	}
}

var (
	bySLO  = func(b *queue.Book) queue.Policy { return queue.NewSLO(b) }
	byRRC  = func(b *queue.Book) queue.Policy { return queue.NewRRC(b) }
	byFIFO = func(*queue.Book) queue.Policy { return queue.FIFO{} }
	gdsf   = func() policy.Order { return policy.NewGDSF() }
	torpor = func() policy.Order { return policy.NewTwoLists() }
	lru    = func() policy.Order { return policy.NewLRU() }
)

func TestStress(t *testing.T) {
	for _, c := range []struct {
		name              string
		devices, parallel int
		failures, disturb bool
		orders            func(*Config, *testengine.Engine)
	}{
		{"one device", 1, 1, false, false, ordered(bySLO, gdsf)},
		{"one device, four at once", 1, 4, false, false, ordered(byRRC, torpor)},
		{"three devices", 3, 2, false, false, ordered(bySLO, torpor)},
		{"with an engine that fails", 1, 2, true, false, ordered(bySLO, gdsf)},
		{"with models that come and go", 2, 2, false, true, ordered(byRRC, lru)},
		{"with everything", 2, 2, true, true, ordered(bySLO, gdsf)},
		{"with everything, by arrival", 2, 2, true, true, ordered(byFIFO, lru)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStress(t, c.devices, c.parallel, c.orders)
			s.failures.Store(c.failures)
			s.disturb = c.disturb
			s.run(16, 150)
			s.failures.Store(false) // closing is checked to the byte
			s.closeEmpty()
			if s.served.Load() == 0 {
				t.Error("no request was served")
			}
		})
	}
}

package enginetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// testLoadBesideRun needs a run that certainly goes on: the endless one.
func testLoadBesideRun(s *suite) {
	if s.Endless == nil {
		s.Skip("without a model that never ends it cannot be told which came first")
	}
	st, i := s.resident(*s.Endless)
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx, inputs(st.Spec(), 1, 1), unallocated(st.Spec())) }()

	s.within("loading, running and evicting beside a run", func() {
		for _, m := range s.Models {
			st := s.open(m)
			for range 3 {
				i := s.load(st)
				s.run(i, st.Spec(), inputs(st.Spec(), 1, 1))
				s.close(i)
			}
			s.close(st)
		}
	})
	select {
	case err := <-ended:
		s.Errorf("the endless run ended: %v", err)
	default:
		cancel()
		s.wantError(<-ended, context.Canceled)
	}
	cancel()
}

func testConcurrentRuns(s *suite) {
	st, i := s.resident(s.Models[0])
	spec := st.Spec()
	const kinds = 3
	var want [kinds][]tensor.Tensor
	for n := range want {
		want[n] = s.run(i, spec, inputs(spec, 1, uint64(n)))
	}
	var wait sync.WaitGroup
	for worker := range spec.Concurrency {
		wait.Go(func() {
			for n := range 30 {
				kind := (worker + n) % kinds
				out := unallocated(spec)
				if err := errors.Join(i.Run(s.Context(), inputs(spec, 1, uint64(kind)), out), same(out, want[kind])); err != nil {
					s.Errorf("worker %d, run %d: %v", worker, n, err)
				}
			}
		})
	}
	wait.Wait()
}

// testRandomSchedule loads, runs and evicts at random, one worker a model, and
// checks every output.
func testRandomSchedule(s *suite) {
	seed := uint64(time.Now().UnixNano())
	s.Logf("seed %d", seed)
	var wait sync.WaitGroup
	for n, m := range s.Models {
		st := s.open(m)
		i := s.load(st)
		spec := st.Spec()
		const kinds = 3
		var want [kinds][]tensor.Tensor
		for k := range want {
			want[k] = s.run(i, spec, inputs(spec, 1, uint64(k)))
		}
		s.close(i)
		wait.Go(func() {
			w := worker{suite: s, staged: st, rng: rand.New(rand.NewPCG(seed, uint64(n)))}
			for range 60 {
				w.step(want[:])
			}
			w.evict()
			s.close(st)
		})
	}
	wait.Wait()
}

type worker struct {
	*suite
	staged   engine.Staged
	instance engine.Instance // nil: evicted
	rng      *rand.Rand
}

// step loads the model if it is evicted, and else mostly runs it.
func (w *worker) step(want [][]tensor.Tensor) {
	switch {
	case w.instance == nil:
		i, err := w.staged.Load(w.Context(), w.Device)
		if err != nil {
			w.Errorf("load: %v", err)
			return
		}
		w.instance = i
	case w.rng.IntN(3) == 0:
		w.evict()
	default:
		kind := w.rng.IntN(len(want))
		spec := w.staged.Spec()
		out := unallocated(spec)
		if w.rng.IntN(2) == 0 {
			out = buffers(spec.Outputs, 1)
		}
		err := w.instance.Run(w.Context(), inputs(spec, 1, uint64(kind)), out)
		if err = errors.Join(err, same(out, want[kind])); err != nil {
			w.Errorf("run: %v", err)
		}
	}
}

func (w *worker) evict() {
	if w.instance != nil {
		w.close(w.instance)
		w.instance = nil
	}
}

func testCloseOrder(s *suite) {
	st := s.open(s.Models[0])
	i := s.load(st)
	if second, err := st.Load(s.Context(), s.Device); err == nil {
		s.Errorf("a second instance was loaded beside the first: %v", second)
	}
	if err := st.Close(); err == nil {
		s.Fatal("closed while an instance was open")
	}
	want := s.run(i, st.Spec(), inputs(st.Spec(), 1, 1)) // it still works
	s.close(i)
	i = s.load(st)
	if err := same(s.run(i, st.Spec(), inputs(st.Spec(), 1, 1)), want); err != nil {
		s.Error(err)
	}
	s.close(i, st)

	// The same file opened twice is two models, and closing one leaves the other.
	first, second := s.open(s.Models[0]), s.open(s.Models[0])
	a, b := s.load(first), s.load(second)
	s.close(a, first)
	if err := same(s.run(b, second.Spec(), inputs(second.Spec(), 1, 1)), want); err != nil {
		s.Error(err)
	}
	s.close(b, second)
}

// testBytesComeBack cycles through the models. What the process holds after the
// fiftieth eviction is what it held after the tenth, but for 5 %.
func testBytesComeBack(s *suite) {
	if s.Held == nil {
		s.Skip("the fixtures cannot tell what is held on the device")
	}
	var staged []engine.Staged
	var want [][]tensor.Tensor
	var tenth int64
	for _, m := range s.Models {
		staged = append(staged, s.open(m))
	}
	for cycle := 1; cycle <= 50; cycle++ {
		for n, st := range staged {
			i := s.load(st)
			out := s.run(i, st.Spec(), inputs(st.Spec(), 1, 1))
			if cycle == 1 {
				want = append(want, out)
			}
			if err := same(out, want[n]); err != nil {
				s.Fatalf("cycle %d: %v", cycle, err)
			}
			s.close(i)
		}
		if cycle == 10 {
			tenth = s.Held()
		}
	}
	fiftieth := s.Held()
	s.Logf("%d bytes are held after 10 cycles, %d after 50", tenth, fiftieth)
	if fiftieth > tenth+tenth/20 {
		s.Errorf("that is more than 5 %% growth")
	}
	for _, st := range staged {
		s.close(st)
	}
}

package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	now := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	starting := func(id string, started int) view { return view{id: id, started: at(started)} }
	ready := func(id string, started int) view { return view{id: id, started: at(started), ready: true} }
	former := func(v view) view { v.old = true; return v }
	in := func(v view, p phase, deadline int) view { v.phase, v.deadline = p, at(deadline); return v }
	one := action{verb: start}

	for _, c := range []struct {
		name       string
		desired    int
		startAfter int // seconds from now
		replicas   []view
		want       []action
		next       int // seconds from now, 0: never
	}{
		{"nothing wanted, nothing there", 0, 0, nil, nil, 0},
		{"all start together", 3, 0, nil, []action{one, one, one}, 0},
		{"as wanted", 2, 0, []view{ready("a", -2), starting("b", -1)}, nil, 0},
		{"one is missing", 2, 0, []view{ready("a", -1)}, []action{one}, 0},
		{"missing, but not yet", 2, 5, []view{ready("a", -1)}, nil, 5},
		{"one that leaves does not count", 1, 0, []view{in(ready("a", -1), leaving, 1)}, []action{one}, 1},
		{"the newest goes", 2, 0, []view{ready("a", -3), ready("b", -2), ready("c", -1)}, []action{{leave, "c"}}, 0},
		{"one not ready goes first", 1, 0, []view{starting("a", -3), ready("b", -1)}, []action{{leave, "a"}}, 0},
		{"to zero", 0, 0, []view{ready("a", -1), starting("b", -2)}, []action{{leave, "b"}, {leave, "a"}}, 0},
		{"to zero in a backoff", 0, 5, []view{ready("a", -1)}, []action{{leave, "a"}}, 0},
		{"has left", 0, 0, []view{in(ready("a", -9), leaving, 0)}, []action{{terminate, "a"}}, 0},
		{"has not stopped in time", 0, 0, []view{in(ready("a", -9), stopping, -1)}, []action{{kill, "a"}}, 0},
		{"the earliest deadline is next", 0, 0, []view{in(ready("a", -9), stopping, 7), in(ready("b", -9), leaving, 3)}, nil, 3},
		{"killed: nothing is left to do", 0, 0, []view{in(ready("a", -9), killed, -1)}, nil, 0},
		{"update starts one", 2, 0, []view{former(ready("a", -9)), former(ready("b", -8))}, []action{one}, 0},
		{"update waits until it is ready", 2, 0, []view{former(ready("a", -9)), former(ready("b", -8)), starting("c", -1)}, nil, 0},
		{"one is ready, one former goes, another starts", 2, 0, []view{former(ready("a", -9)), former(ready("b", -8)), ready("c", -1)}, []action{{leave, "b"}, one}, 0},
		{"update is done", 2, 0, []view{former(ready("a", -9)), ready("c", -2), ready("d", -1)}, []action{{leave, "a"}}, 0},
		{"a former one that is not ready goes first", 1, 0, []view{former(ready("a", -9)), former(starting("b", -5)), starting("c", -1)}, []action{{leave, "b"}}, 0},
		{"an update that fails keeps the former", 1, 4, []view{former(ready("a", -9))}, nil, 4},
		{"update of none", 0, 0, nil, nil, 0},
		{"scaled up during an update", 3, 0, []view{former(ready("a", -9)), ready("b", -1)}, []action{one}, 0},
		{"scaled down during an update", 1, 0, []view{former(ready("a", -9)), former(ready("b", -8)), starting("c", -1)}, []action{{leave, "b"}}, 0},
	} {
		after := now
		if c.startAfter != 0 {
			after = at(c.startAfter)
		}
		actions, next := plan(now, c.desired, after, c.replicas)
		if !slices.Equal(actions, c.want) {
			t.Errorf("%s: %v, want %v", c.name, actions, c.want)
		}
		if want := at(c.next); next != want && !(c.next == 0 && next.IsZero()) {
			t.Errorf("%s: next at %v, want %v", c.name, next, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Unix(1000, 0)
	for _, want := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		started := now
		now = now.Add(time.Second)
		b.failed(now, started)
		if got := b.until.Sub(now); got != time.Duration(want)*time.Second {
			t.Errorf("delay %v, want %d s", got, want)
		}
		b.failed(now, started.Add(-time.Hour)) // another that ended with it
		now = b.until
	}
	started := now
	b.failed(now.Add(lastBackoff), started)
	if got := delay(b); got != firstBackoff {
		t.Errorf("after a long life the delay is %v, want %v", got, firstBackoff)
	}
}

// TestPlanConverges plays random events against plan: whatever happens, a
// replica that serves leaves only when enough others serve, and in the end there
// is what is wanted.
func TestPlanConverges(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		w := &world{t: t, random: random, now: time.Unix(1000, 0), desired: random.IntN(4)}
		for range 60 {
			w.event()
			w.step()
		}
		for range 100 {
			w.calm()
			w.step()
		}
		if n := len(w.replicas); n != w.desired || slices.ContainsFunc(w.replicas, func(v view) bool { return v.old || !v.ready || v.phase != up }) {
			t.Fatalf("seed %d: in the end %+v, desired %d", seed, w.replicas, w.desired)
		}
	}
}

type world struct {
	t        *testing.T
	random   *rand.Rand
	now      time.Time
	desired  int
	replicas []view
	started  int
}

func (w *world) event() {
	w.now = w.now.Add(time.Duration(w.random.IntN(300)) * time.Millisecond)
	switch n := w.random.IntN(10); {
	case n == 0:
		w.desired = w.random.IntN(5)
	case n == 1:
		for i := range w.replicas {
			w.replicas[i].old = true
		}
	case len(w.replicas) == 0:
	case n == 2: // one ends by itself, or has stopped
		i := w.random.IntN(len(w.replicas))
		w.replicas = slices.Delete(w.replicas, i, i+1)
	case n < 6:
		w.replicas[w.random.IntN(len(w.replicas))].ready = w.random.IntN(4) > 0
	}
}

// calm lets all that is under way succeed.
func (w *world) calm() {
	w.now = w.now.Add(time.Second)
	w.replicas = slices.DeleteFunc(w.replicas, func(v view) bool { return v.phase >= stopping })
	for i := range w.replicas {
		w.replicas[i].ready = true
	}
}

func (w *world) serving() (n int) {
	for _, v := range w.replicas {
		if v.phase == up && v.ready {
			n++
		}
	}
	return n
}

func (w *world) step() {
	before := w.serving()
	actions, _ := plan(w.now, w.desired, time.Time{}, slices.Clone(w.replicas))
	for _, a := range actions {
		i := slices.IndexFunc(w.replicas, func(v view) bool { return v.id == a.replica })
		if a.verb == start {
			w.started++
			w.replicas = append(w.replicas, view{id: fmt.Sprint(w.started), started: w.now})
			continue
		}
		r := &w.replicas[i]
		allowed := map[verb]phase{leave: up, terminate: leaving, kill: stopping}
		if r.phase != allowed[a.verb] || r.phase != up && w.now.Before(r.deadline) {
			w.t.Fatalf("action %v on %+v at %v", a, *r, w.now)
		}
		r.phase, r.deadline = r.phase+1, w.now.Add(200*time.Millisecond)
	}
	if after := w.serving(); after < min(before, w.desired) {
		w.t.Fatalf("%d serve, %d did before, desired %d: %v", after, before, w.desired, actions)
	}
	current := 0
	for _, v := range w.replicas {
		if v.phase == up && !v.old {
			current++
		}
	}
	if current > w.desired {
		w.t.Fatalf("%d current replicas, desired %d", current, w.desired)
	}
}

package cachemgr

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

func TestLedger(t *testing.T) {
	l := ledger{budget: 100, overhead: 10}
	for _, step := range []struct {
		name string
		do   func()
		want ledger
		room int64
	}{
		{"empty", func() {}, ledger{}, 90},
		{"reserve", func() { l.reserve(50, 0) }, ledger{loading: 50}, 40},
		{"loaded", func() { l.loaded(50, 30) }, ledger{resident: 30}, 60},
		{"drain", func() { l.drain(30) }, ledger{draining: 30}, 60},
		{"keep", func() { l.keep(30) }, ledger{resident: 30}, 60},
		{"drain again", func() { l.drain(30) }, ledger{draining: 30}, 60},
		{"evicted", func() { l.evicted(30, 5) }, ledger{residual: 5}, 85},
		{"reserve with a residue", func() { l.reserve(50, 5) }, ledger{loading: 50}, 40},
		{"abort", func() { l.abort(50, 5) }, ledger{residual: 5}, 85},
		{"unstaged", func() { l.unstaged(5) }, ledger{}, 90},
	} {
		step.do()
		step.want.budget, step.want.overhead = 100, 10
		if l != step.want || l.room() != step.room {
			t.Fatalf("%s: %+v with room %d, want %+v with room %d", step.name, l, l.room(), step.want, step.room)
		}
	}
}

func TestSane(t *testing.T) {
	for _, c := range []struct{ in, want engine.Cost }{
		{engine.Cost{Peak: 3, Resident: 2, Residual: 1, Host: 4}, engine.Cost{Peak: 3, Resident: 2, Residual: 1, Host: 4}},
		{engine.Cost{Resident: 2}, engine.Cost{Peak: 2, Resident: 2}},
		{engine.Cost{Peak: 2, Resident: 2, Residual: 9}, engine.Cost{Peak: 2, Resident: 2, Residual: 2}},
		{engine.Cost{Peak: -1, Resident: -2, Residual: -3, Host: -4}, engine.Cost{}},
	} {
		if got := sane(c.in); got != c.want {
			t.Errorf("sane(%+v) = %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	a := candidate{id: "a", usable: true, room: 10}
	b := candidate{id: "b", usable: true, room: 20}
	with := func(c candidate, change func(*candidate)) candidate { change(&c); return c }
	resident := func(c *candidate) { c.resident = true }
	coming := func(c *candidate) { c.coming = true }
	unusable := func(c *candidate) { c.usable = false }
	for _, c := range []struct {
		name string
		hint engine.DeviceID
		in   []candidate
		want int
	}{
		{"nothing", "", nil, -1},
		{"only one", "", []candidate{a}, 0},
		{"none usable", "", []candidate{with(a, unusable)}, -1},
		{"most room", "", []candidate{a, b}, 1},
		{"resident before room", "", []candidate{with(a, resident), b}, 0},
		{"resident before coming", "", []candidate{with(b, coming), with(a, resident)}, 1},
		{"coming before room", "", []candidate{with(a, coming), b}, 0},
		{"least busy of the resident", "", []candidate{
			with(a, func(c *candidate) { c.resident, c.busy = true, 2 }),
			with(b, func(c *candidate) { c.resident, c.busy = true, 1 }),
		}, 1},
		{"first of equals", "", []candidate{a, a}, 0},
		{"hint before resident", "b", []candidate{with(a, resident), b}, 1},
		{"hint not usable", "b", []candidate{a, with(b, unusable)}, 0},
		{"unknown hint", "x", []candidate{a, b}, 1},
	} {
		if got := choose(c.hint, c.in); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestFailureBacksOff(t *testing.T) {
	var f failure
	now := time.Unix(1000, 0)
	if f.holds(now) {
		t.Error("no failure holds")
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		f.note(engine.ErrBadModel, now, time.Second, 10*time.Second)
		if got := f.retryAt.Sub(now); got != want*time.Second {
			t.Errorf("failure %d: retry after %v, want %v", i+1, got, want*time.Second)
		}
	}
	if !f.holds(now.Add(9*time.Second)) || f.holds(now.Add(10*time.Second)) {
		t.Error("holds until the retry time, not after")
	}
	err := f.asError()
	if !errors.Is(err, ErrFailed) || !errors.Is(err, engine.ErrBadModel) {
		t.Errorf("%v is not both ErrFailed and the reason", err)
	}
	if want := "model failed to load, next attempt after 1970-01-01T00:16:50Z: bad model"; err.Error() != want {
		t.Errorf("says %q, want %q", err, want)
	}
}

func TestConfig(t *testing.T) {
	e := testengine.New(t.Errorf)
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no engine", Config{HostBudget: 1}, "no engine"},
		{"no host budget", Config{Engine: e}, "host budget is 0 bytes"},
		{"concurrency", Config{Engine: e, HostBudget: 1, Concurrency: -1}, "concurrency is -1"},
		{"depth", Config{Engine: e, HostBudget: 1, QueueDepth: -2}, "queue depth is -2"},
		{"timeout", Config{Engine: e, HostBudget: 1, QueueTimeout: -1}, "queue timeout is -1ns"},
		{"device budget", Config{Engine: e, HostBudget: 1, DeviceBudget: func(engine.Device) int64 { return 0 }}, "budget of device cpu is 0"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want it to say %q", c.name, err, c.want)
		}
	}
	m, err := New(Config{Engine: e, HostBudget: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Status().Devices[0].Budget, int64(1<<30)/10*9; got != want {
		t.Errorf("default budget is %d, want %d", got, want)
	}
	e.ListError = errInjected
	if _, err := New(Config{Engine: e, HostBudget: 1}); !errors.Is(err, errInjected) {
		t.Errorf("no list of devices: error %v", err)
	}
	e.List, e.ListError = nil, nil
	if _, err := New(Config{Engine: e, HostBudget: 1}); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("no device: error %v, want ErrUnavailable", err)
	}
}

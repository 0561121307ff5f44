package store

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

func names(models []api.Offer) (list []string) {
	for _, m := range models {
		list = append(list, m.Name+"/"+m.Version)
	}
	return list
}

func TestRegistrationsSurviveARestart(t *testing.T) {
	f := open(t, 1000)
	f.put("one")
	f.put("two")
	f.register("f", offer("m", "2", "one"))
	f.register("f", offer("m", "10", "two"))
	f.register("f", offer("a", "1", "two"))
	f.register("g", offer("m", "1", "two"))
	for range 2 {
		if got, want := names(f.Models(fn("f"))), []string{"a/1", "m/10", "m/2"}; !slices.Equal(got, want) {
			t.Errorf("models %v, want %v", got, want)
		}
		if o, ok := f.Lookup(fn("f"), "m", ""); !ok || o.Version != "10" {
			t.Errorf("the highest version is %+v", o)
		}
		if o, ok := f.Lookup(fn("f"), "m", "2"); !ok || o.Digest != digestOf("one") {
			t.Errorf("version 2 is %+v", o)
		}
		for _, wrong := range []struct{ name, version string }{{"m", "3"}, {"b", ""}} {
			if o, ok := f.Lookup(fn("f"), wrong.name, wrong.version); ok {
				t.Errorf("%v is found: %+v", wrong, o)
			}
		}
		if o, ok := f.Lookup(fn("h"), "m", ""); ok {
			t.Errorf("a function without models has %+v", o)
		}
		if n := len(f.Registrations()); n != 2 {
			t.Errorf("%d registrations", n)
		}
		f.reopen(1000)
	}
	// In use after the restart, too.
	if err := f.Put(t.Context(), digestOf("big"), 997, strings.NewReader("")); !errors.Is(err, ErrQuota) {
		t.Errorf("files in use made room: %v", err)
	}
}

func TestRegisterNeedsTheFile(t *testing.T) {
	f := open(t, 1000)
	f.put("one")
	o := offer("m", "1", "one")
	o.Size++
	if err := f.Register(t.Context(), fn("f"), f.clk.now(), o); !errors.Is(err, ErrMismatch) {
		t.Errorf("another size: %v", err)
	}
	if err := f.Register(t.Context(), fn("f"), f.clk.now(), offer("m", "1", "two")); !errors.Is(err, ErrNotFound) {
		t.Errorf("no file: %v", err)
	}
	bad := offer("../m", "1", "one")
	if err := f.Register(t.Context(), fn("f"), f.clk.now(), bad); !errors.Is(err, ErrInvalid) {
		t.Errorf("a bad name: %v", err)
	}
	if f.Models(fn("f")) != nil {
		t.Error("a failed registration is there")
	}
}

func TestOfferIsTheFullSet(t *testing.T) {
	f := open(t, 1000)
	f.put("one")
	f.put("two")
	f.register("f", offer("stays", "1", "one"))
	f.register("f", offer("goes", "1", "one"))
	f.register("f", offer("changes", "1", "two"))
	stays := offer("stays", "1", "one")
	stays.Pin = true
	set := []api.Offer{offer("new", "1", "two"), stays, offer("changes", "1", "one")}
	known, err := f.Offer(t.Context(), fn("f"), f.clk.now(), set)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(known, []bool{false, true, false}) {
		t.Errorf("registered: %v", known)
	}
	for range 2 {
		if got := f.Models(fn("f")); len(got) != 1 || !got[0].Equal(stays) {
			t.Errorf("models %+v", got)
		}
		f.reopen(1000)
	}
	twice := []api.Offer{stays, stays}
	if _, err := f.Offer(t.Context(), fn("f"), f.clk.now(), twice); !errors.Is(err, ErrInvalid) {
		t.Errorf("a name and version twice: %v", err)
	}
	if got := f.Models(fn("f")); len(got) != 1 {
		t.Errorf("a refused offer changed the models to %v", got)
	}
}

func TestReferences(t *testing.T) {
	f := open(t, 1000)
	for _, name := range []string{"keep", "drop"} {
		f.put(name)
		f.register(name, offer("m", "1", name))
	}
	d := f.references(7, "keep")
	if !slices.Equal(d.Functions, []api.FunctionRef{fn("drop")}) || d.Digests != nil {
		t.Errorf("dropped %+v", d)
	}
	if !f.Has(digestOf("drop")) {
		t.Error("a file was deleted the moment its last user went")
	}
	f.clk.add(unusedLife)
	d = f.references(7, "keep") // the same generation again
	if d.Functions != nil || !slices.Equal(d.Digests, []string{digestOf("drop")}) || f.Has(digestOf("drop")) {
		t.Errorf("dropped %+v", d)
	}
	if !f.Has(digestOf("keep")) || f.Models(fn("keep")) == nil {
		t.Error("what is referenced is gone")
	}
	stale := api.References{Generation: 6, At: f.clk.now()}
	for range 2 {
		if _, err := f.SetReferences(t.Context(), stale); !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "generation 7") {
			t.Errorf("a generation that went back: %v", err)
		}
		f.reopen(1000)
		if f.Models(fn("drop")) != nil || f.Models(fn("keep")) == nil {
			t.Error("the registrations after a restart are wrong")
		}
	}
	if _, err := f.SetReferences(t.Context(), api.References{Generation: 9}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a set without its time: %v", err)
	}
}

// A set of references and an offer can be under way for any time, and arrive in
// any order.
func TestReferencesAndNewFunctions(t *testing.T) {
	f := open(t, 1000)
	before := f.clk.now()
	f.clk.add(time.Second)
	minted := f.clk.now()
	f.clk.add(time.Second)
	after := f.clk.now()

	set := func(generation uint64, at time.Time, functions ...api.FunctionRef) {
		t.Helper()
		f.clk.add(time.Hour)
		if _, err := f.SetReferences(t.Context(), api.References{Generation: generation, At: at, Functions: functions}); err != nil {
			t.Fatal(err)
		}
	}
	register := func() {
		t.Helper()
		if err := f.Register(t.Context(), fn("f"), minted, offer("m", "1", "abc")); err != nil {
			t.Fatal(err)
		}
	}
	set(1, before)
	f.put("abc")
	register()
	set(1, before) // sent again
	set(2, before) // read before the function existed, arrives late
	if f.Models(fn("f")) == nil || !f.Has(digestOf("abc")) {
		t.Fatal("a function newer than the set was dropped")
	}
	f.reopen(1000)
	set(3, before)
	if f.Models(fn("f")) == nil {
		t.Fatal("after a restart, a function newer than the set was dropped")
	}
	set(4, after, fn("f"))
	if f.Models(fn("f")) == nil {
		t.Fatal("a function in the set was dropped")
	}
	set(5, after)
	if f.Models(fn("f")) != nil {
		t.Fatal("a function that is gone was kept")
	}
	// A replica that outlives its function offers again, with its old token.
	f.put("abc")
	for range 2 {
		if err := f.Register(t.Context(), fn("f"), minted, offer("m", "1", "abc")); !errors.Is(err, ErrGone) {
			t.Errorf("a function that is gone may register again: %v", err)
		}
		if _, err := f.Offer(t.Context(), fn("f"), minted, nil); !errors.Is(err, ErrGone) {
			t.Errorf("a function that is gone may offer again: %v", err)
		}
		f.reopen(1000) // it is not forgotten
	}
	f.clk.add(time.Second)
	if err := f.Register(t.Context(), fn("f"), f.clk.now(), offer("m", "1", "abc")); err != nil {
		t.Errorf("a function with a newer token: %v", err)
	}
}

func TestANewDeploymentIsAnotherFunction(t *testing.T) {
	f := open(t, 1000)
	f.put("abc")
	f.register("f", offer("m", "1", "abc"))
	next := fn("f")
	next.UID = "second"
	if f.Models(next) != nil {
		t.Error("a new deployment has the models of the old one")
	}
	f.clk.add(time.Second)
	if _, err := f.SetReferences(t.Context(), api.References{Generation: 1, At: f.clk.now(), Functions: []api.FunctionRef{next}}); err != nil {
		t.Fatal(err)
	}
	if f.Models(fn("f")) != nil {
		t.Error("the old deployment is still there")
	}
}

func TestAllAtOnce(t *testing.T) {
	f := open(t, 60)
	var wg sync.WaitGroup
	work := func(name string) {
		content := name + " has this"
		o := offer("m", "1", content)
		for range 20 {
			if err := f.Put(t.Context(), o.Digest, o.Size, strings.NewReader(content)); err != nil && !errors.Is(err, ErrQuota) {
				t.Error(err)
			}
			err := f.Register(t.Context(), fn(name), f.clk.now(), o)
			gone := errors.Is(err, ErrGone) && strings.HasPrefix(name, "x")
			if err != nil && !errors.Is(err, ErrNotFound) && !gone {
				t.Error(err)
			}
			if _, ok := f.Lookup(fn(name), "m", ""); ok && !f.Has(o.Digest) {
				// References never have the functions "x…", so only theirs may go.
				if !strings.HasPrefix(name, "x") {
					t.Errorf("%s is registered and its file is gone", name)
				}
			}
		}
	}
	for _, name := range []string{"a", "b", "c", "x1", "x2", "x3"} {
		wg.Go(func() { work(name) })
	}
	wg.Go(func() {
		for g := range uint64(20) {
			f.clk.add(time.Minute)
			refs := api.References{Generation: g, At: f.clk.now(), Functions: []api.FunctionRef{fn("a"), fn("b"), fn("c")}}
			if _, err := f.SetReferences(t.Context(), refs); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	f.clk.add(time.Hour)
	f.references(100)
	if n := len(f.Registrations()); n != 0 {
		t.Errorf("%d registrations of functions that are gone", n)
	}
	f.clk.add(time.Hour)
	f.references(101)
	if u := f.Usage(); u.Files != 0 || u.Used != 0 {
		t.Errorf("files that nobody uses are still there: %+v", u)
	}
}

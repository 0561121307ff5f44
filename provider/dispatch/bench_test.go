package dispatch

import (
	"log/slog"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

func BenchmarkAcquireDone(b *testing.B) {
	for name, scheduler := range map[string]func() (sched.Scheduler, error){
		"least-in-flight": func() (sched.Scheduler, error) { return sched.NewLeastInFlight(2), nil },
		"swap":            func() (sched.Scheduler, error) { return locality.New(locality.Config{Policy: locality.Swap}) },
	} {
		b.Run(name, func(b *testing.B) {
			s, err := scheduler()
			if err != nil {
				b.Fatal(err)
			}
			rt := newFake()
			rt.set(digits, readyReplicas("a", "b"))
			d := New(Config{Runtime: rt, Scheduler: s, Wait: time.Second, Log: slog.New(slog.DiscardHandler)})
			defer d.Close()
			d.Heard("x", onNode("here", api.StateResident))
			f, _ := d.Lookup(digits)
			b.ReportAllocs()
			for b.Loop() {
				l, err := d.Acquire(b.Context(), f, Want{Model: "m"})
				if err != nil {
					b.Fatal(err)
				}
				l.Answered(api.CacheHit, "cpu", "queue;dur=0.010, swap;dur=0.000, compute;dur=0.731")
				l.Done()
			}
		})
	}
}

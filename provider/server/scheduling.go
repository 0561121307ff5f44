package server

import (
	"context"
	"log/slog"

	"github.com/faas-gpu/faas-gpu/internal/env"
	"github.com/faas-gpu/faas-gpu/provider/fleet"
	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/locality"
)

// Scheduling is how requests get devices, see ReadLimits.
type Scheduling struct {
	Policy  string // of locality.Policies, or sched.PolicyLeastInFlight
	Limit   int    // how often a request is passed over at most; 0: the policy's default
	Credits int    // requests that a device is given at a time; 0: as many as keep it busy
}

func readScheduling(set *env.Set) Scheduling {
	s := Scheduling{
		Policy:  set.OneOf("policy", function.Policies()[0], "where requests go, unless their function says otherwise", function.Policies()...),
		Limit:   set.Int("o3_limit", 0, "how often a request may be passed over by later ones; 0: 25. Only for lalbo3 and swap"),
		Credits: set.Int("credits", 0, "requests that a device is given at a time; 0: as many as keep it busy"),
	}
	if (s.Policy == string(locality.LB) || s.Policy == string(locality.LALB)) && s.Limit != 0 {
		set.Fail("o3_limit", "policy %s serves in order: want 0", s.Policy)
	}
	return s
}

// newScheduler makes the scheduler and what it knows of nodes.
func newScheduler(l Limits, log *slog.Logger) (sched.Scheduler, *fleet.Fleet, error) {
	c := fleet.Config{Credits: l.Scheduling.Credits}
	if l.Scheduling.Policy == sched.PolicyLeastInFlight {
		return sched.NewLeastInFlight(l.Queue), fleet.New(c), nil
	}
	if l.Scheduling.Policy == string(locality.Swap) {
		c.Spare = 1
	}
	s, err := locality.New(locality.Config{
		Policy: locality.Policy(l.Scheduling.Policy), Limit: l.Scheduling.Limit, QueueLimit: l.Queue, Decided: logDecisions(log),
	})
	return s, fleet.New(c), err
}

// logDecisions writes each choice of a device down, nil if nobody wants to know.
func logDecisions(log *slog.Logger) func(locality.Decision) {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return nil
	}
	return func(d locality.Decision) {
		costs := make([]any, 0, len(d.Devices))
		for _, c := range d.Devices {
			costs = append(costs, slog.String(c.Device, c.Why))
		}
		log.Debug("device chosen", "request", d.Request, "function", d.Function, "model", d.Model,
			"device", d.Device, "why", d.Why, "waited", d.Waited, slog.Group("costs", costs...))
	}
}

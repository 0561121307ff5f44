package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Profile is the hardware and the models of a simulation.
type Profile struct {
	Name  string `json:"name"`
	About string `json:"about"` // where the figures come from
	// Groups of equal nodes.
	Groups []Group `json:"groups"`
	// Pipelined: a model computes while it is copied, so the shorter of both is
	// hidden.
	Pipelined bool `json:"pipelined"`
	// WayMS is how long a request is on its way from the scheduler to its device
	// and back, in milliseconds. The way does not keep the device busy.
	WayMS  float64 `json:"way_ms,omitempty"`
	Models []Model `json:"models"`
}

// Group of equal nodes.
type Group struct {
	Nodes          int    `json:"nodes"`
	Devices        int    `json:"devices"` // on each node
	Class          string `json:"class"`
	BudgetMB       int64  `json:"budget_mb"`        // of a device, for models
	HostMB         int64  `json:"host_mb"`          // of a node, for staged models; 0 for no limit
	DevicesPerLink int    `json:"devices_per_link"` // that share one way from host memory
	// CopyStretch is by how much of its time a copy takes longer for each other one
	// on the same link. Default: 1, which is a fair share of one rate.
	CopyStretch *float64 `json:"copy_stretch,omitempty"`
}

func (g Group) stretch() float64 {
	if g.CopyStretch == nil {
		return 1
	}
	return *g.CopyStretch
}

// Model and what it costs with nothing else going on.
type Model struct {
	Name string `json:"name"`
	MB   int64  `json:"mb"`
	// PeakMB is what it takes of a device while it is brought there. Default: MB.
	PeakMB int64   `json:"peak_mb,omitempty"`
	SLOms  float64 `json:"slo_ms"` // 0 for none
	Costs  []Cost  `json:"costs"`  // one for each class
}

// Cost of a model on a class of devices, in milliseconds.
type Cost struct {
	Class   string  `json:"class"`
	Load    float64 `json:"load_ms"`    // from disk into host memory
	Swap    float64 `json:"swap_ms"`    // over the link
	Compute float64 `json:"compute_ms"` // one request
	// Peer is the copy from another device of the node; 0: there is no such way.
	Peer float64 `json:"peer_ms,omitempty"`
}

// ParseProfile reads a profile and checks that it can be simulated.
func ParseProfile(data []byte) (Profile, error) {
	var p Profile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return Profile{}, fmt.Errorf("profile: %w", err)
	}
	return p, p.check()
}

// Limits of a profile, which may come from anywhere.
const (
	maxDevices = 4096
	maxMillis  = 3.6e6
	maxMB      = 1 << 30
	maxStretch = 1000
)

func (p Profile) check() error {
	devices, smallest, classes := 0, int64(maxMB), map[string]bool{}
	for i, g := range p.Groups {
		if g.Nodes < 1 || g.Devices < 1 || g.Nodes > maxDevices || g.Devices > maxDevices || g.BudgetMB < 1 || g.BudgetMB > maxMB ||
			g.HostMB < 0 || g.HostMB > maxMB || g.DevicesPerLink < 1 {
			return fmt.Errorf("profile %q, group %d: want nodes, devices, budget_mb and devices_per_link of at least 1, at most %d devices and %d MB; have %+v",
				p.Name, i, maxDevices, maxMB, g)
		}
		if s := g.stretch(); !(s >= 0 && s <= maxStretch) {
			return fmt.Errorf("profile %q, group %d: want a copy_stretch of 0 to %d; have %g", p.Name, i, maxStretch, s)
		}
		devices += g.Nodes * g.Devices
		smallest = min(smallest, g.BudgetMB)
		if g.HostMB > 0 {
			smallest = min(smallest, g.HostMB)
		}
		classes[g.Class] = true
	}
	if !(p.WayMS >= 0 && p.WayMS <= maxMillis) {
		return fmt.Errorf("profile %q: want a way_ms of 0 to %g; have %g", p.Name, float64(maxMillis), p.WayMS)
	}
	if devices == 0 || devices > maxDevices || len(p.Models) == 0 {
		return fmt.Errorf("profile %q: want 1 to %d devices and at least one model; have %d and %d", p.Name, maxDevices, devices, len(p.Models))
	}
	for _, m := range p.Models {
		if err := m.check(classes, smallest); err != nil {
			return fmt.Errorf("profile %q: %w", p.Name, err)
		}
	}
	return nil
}

func (m Model) check(classes map[string]bool, smallest int64) error {
	if m.MB < 1 || max(m.MB, m.PeakMB) > smallest || m.PeakMB < 0 {
		return fmt.Errorf("model %q: want 1 to %d mb and peak_mb, which is what fits everywhere; have %d and %d", m.Name, smallest, m.MB, m.PeakMB)
	}
	known := map[string]bool{}
	for _, c := range m.Costs {
		for _, ms := range []float64{c.Load, c.Swap, c.Compute, c.Peer, m.SLOms} {
			if !(ms >= 0 && ms <= maxMillis) {
				return fmt.Errorf("model %q on %q: want times of 0 to %g ms; have %+v", m.Name, c.Class, float64(maxMillis), c)
			}
		}
		known[c.Class] = c.Compute > 0
	}
	for class := range classes {
		if !known[class] {
			return fmt.Errorf("model %q: want a cost with compute_ms above 0 for class %q", m.Name, class)
		}
	}
	return nil
}

// cost of the model on a class; the profile has been checked.
func (m Model) cost(class string) Cost {
	for _, c := range m.Costs {
		if c.Class == class {
			return c
		}
	}
	return Cost{}
}

// price is what the scheduler is told of a cost.
func (p Profile) price(c Cost) sched.Price {
	out := sched.Price{Class: c.Class, Load: millis(c.Load), Swap: millis(c.Swap), Compute: millis(c.Compute)}
	if p.Pipelined {
		out.Swap = max(0, out.Swap-out.Compute)
	}
	return out
}

func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

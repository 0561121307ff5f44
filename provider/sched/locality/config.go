package locality

import (
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// Policy names one way to choose.
type Policy string

// The policies.
const (
	LB     Policy = "lb"
	LALB   Policy = "lalb"
	LALBO3 Policy = "lalbo3"
	Swap   Policy = "swap"
)

// Policies are all of them.
func Policies() []Policy { return []Policy{LB, LALB, LALBO3, Swap} }

// Config of a Scheduler.
type Config struct {
	Policy Policy
	// Credits is how many requests a device may hold that does not say so itself:
	// one is computed, the models of the others are fetched meanwhile. Default: 2
	// for swap, else 1.
	Credits int
	// Limit is how many younger requests may be served before a waiting one that
	// the same devices can serve. Default: 25. lb and lalb keep the order, for
	// them it is always 0.
	Limit int
	// Patience orders requests without an SLO, and those that have missed theirs,
	// among the others: they are due so long after they came. Only swap looks at
	// it. Default: 5 s.
	Patience time.Duration
	// QueueLimit is how many requests of one function may wait. Default: 256.
	QueueLimit int
	// Plain serves requests that no device is chosen for: those without a model,
	// with an unknown one, or of functions that run where no device is.
	// Default: sched.LeastInFlight with the same QueueLimit.
	Plain sched.Scheduler
	// Decided, if it is not nil, is told each time a device is chosen, before
	// anything is changed by that.
	Decided func(Decision)
}

// Decision is the choice of a device for a request, and what the others would
// have cost.
type Decision struct {
	Request  sched.RequestID
	Function string
	Model    string
	Device   string
	Why      string
	Waited   time.Duration
	Devices  []sched.DeviceCost
}

func (c Config) withDefaults() (Config, error) {
	switch c.Policy {
	case LB, LALB:
		if c.Limit != 0 {
			return c, fmt.Errorf("policy %s serves in order: want limit 0, have %d", c.Policy, c.Limit)
		}
	case LALBO3, Swap:
		if c.Limit == 0 {
			c.Limit = 25
		}
	default:
		return c, fmt.Errorf("unknown policy %q: want one of %v", c.Policy, Policies())
	}
	if c.Credits == 0 {
		c.Credits = 1
		if c.Policy == Swap {
			c.Credits = 2
		}
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	if c.QueueLimit == 0 {
		c.QueueLimit = 256
	}
	if c.Credits < 0 || c.Limit < 0 || c.Patience < 0 || c.QueueLimit < 0 {
		return c, fmt.Errorf("credits %d, limit %d, patience %v, queue limit %d: want none below 0",
			c.Credits, c.Limit, c.Patience, c.QueueLimit)
	}
	if c.Plain == nil {
		c.Plain = sched.NewLeastInFlight(c.QueueLimit)
	}
	return c, nil
}

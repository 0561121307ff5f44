package cachemgr

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// Config of a Manager. Engine and HostBudget are required; a zero value
// elsewhere means the default.
type Config struct {
	// Engine computes. The manager never closes it: do that after Manager.Close.
	Engine engine.Engine

	// DeviceBudget is how many bytes models and the engine's overhead may take on
	// a device. Default: nine tenths of its memory.
	DeviceBudget func(engine.Device) int64
	// HostBudget is how many bytes staged models may take in host memory.
	HostBudget int64
	// Policy makes the order of eviction of one pool. Default: policy.NewGDSF.
	Policy func() policy.Order
	// Queue makes the order of those that wait, from how the functions fare.
	// Default: queue.NewSLO.
	Queue func(*queue.Book) queue.Policy
	// Passes is how often a request that could go on is passed over by later ones.
	// Default: 256.
	Passes int
	// Transfers is how many models may be on their way to a device at once. The
	// link then always has the next copy queued. A model's first load is not
	// counted: the link is not what it takes time for. Default: 2.
	Transfers int

	// BatchDelay is how long a request that can run together with others waits for
	// them, though the device is free. Default: not at all.
	BatchDelay time.Duration
	// NoPrefetch: models come when they are asked for, not when they are expected.
	NoPrefetch bool

	// Concurrency is how many requests compute at once on a device. Default: 1.
	Concurrency int
	// QueueDepth is how many requests may wait in the manager, be it for bytes or
	// for a device; one more is ErrOverloaded. Default: 256.
	QueueDepth int
	// QueueTimeout is how long a request waits before it is ErrOverloaded. While
	// its model is being opened or loaded it does not expire. Default: 30 s.
	QueueTimeout time.Duration
	// LoadTimeout ends an Open or a Load of the engine. Default: 2 min.
	LoadTimeout time.Duration
	// A model that failed to load is not tried again for RetryMin, then twice as
	// long after each further failure, up to RetryMax. Default: 1 s and 5 min.
	RetryMin, RetryMax time.Duration

	// Log gets what operators want to know. Default: nothing is logged.
	Log *slog.Logger
}

// withDefaults fills in what is zero and refuses what makes no sense.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Engine == nil {
		errs = append(errs, errors.New("no engine"))
	}
	if c.HostBudget <= 0 {
		errs = append(errs, fmt.Errorf("host budget is %d bytes, must be positive", c.HostBudget))
	}
	for _, n := range []struct {
		name  string
		value *int
		unset int
	}{{"concurrency", &c.Concurrency, 1}, {"queue depth", &c.QueueDepth, 256}, {"passes", &c.Passes, 256}, {"transfers", &c.Transfers, 2}} {
		if *n.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d, must be positive", n.name, *n.value))
		} else if *n.value == 0 {
			*n.value = n.unset
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{
		{"queue timeout", &c.QueueTimeout, 30 * time.Second},
		{"load timeout", &c.LoadTimeout, 2 * time.Minute},
		{"first retry", &c.RetryMin, time.Second},
		{"last retry", &c.RetryMax, 5 * time.Minute},
		{"batch delay", &c.BatchDelay, 0},
	} {
		if *d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v, must be positive", d.name, *d.value))
		} else if *d.value == 0 {
			*d.value = d.unset
		}
	}
	if c.DeviceBudget == nil {
		c.DeviceBudget = func(d engine.Device) int64 { return d.TotalBytes / 10 * 9 }
	}
	if c.Policy == nil {
		c.Policy = func() policy.Order { return policy.NewGDSF() }
	}
	if c.Queue == nil {
		c.Queue = func(b *queue.Book) queue.Policy { return queue.NewSLO(b) }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("cache manager: %w", err)
	}
	return c, nil
}

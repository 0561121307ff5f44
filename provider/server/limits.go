package server

import (
	"time"

	"github.com/faas-gpu/faas-gpu/internal/env"
	"github.com/faas-gpu/faas-gpu/provider"
)

// Limits of requests, see ReadLimits.
type Limits struct {
	Request         provider.Limits
	Scheduling      Scheduling
	Queue           int
	QueueWait       time.Duration
	WakeFromZero    bool
	ZeroAfter       time.Duration // see package idle
	DialTimeout     time.Duration
	UpstreamTimeout time.Duration
	UpstreamIdle    time.Duration
	UpstreamConns   int
}

// ReadLimits declares the variables that set limits.
func ReadLimits(set *env.Set) Limits {
	l := Limits{
		Request: provider.Limits{
			Body:        set.Bytes("max_body", 32<<20, "largest request body in bytes"),
			Buffered:    set.Bytes("buffered_body", 1<<20, "largest request body that is read before it is sent on; others are streamed"),
			Budget:      set.Bytes("body_memory", 256<<20, "bytes of memory for such bodies; beyond it they are streamed"),
			BodyTimeout: set.Duration("body_timeout", 30*time.Second, "time for a client to send its body or the next piece of a streamed one, and to take the next piece of an answer"),
			UpgradeIdle: set.Duration("upgrade_idle_timeout", 5*time.Minute, "longest silence on a connection that was upgraded, as a WebSocket is"),
		},
		Scheduling:      readScheduling(set),
		Queue:           set.Int("queue_limit", 256, "requests of one function that may wait for a replica"),
		QueueWait:       set.Duration("queue_timeout", 30*time.Second, "time that a request may wait for a replica"),
		WakeFromZero:    set.Bool("scale_from_zero", true, "a request starts a function that is scaled to zero"),
		ZeroAfter:       set.Duration("zero_duration", 15*time.Minute, "time that a function with the label com.openfaas.scale.zero=true is idle before it is scaled to zero, unless com.openfaas.scale.zero-duration says otherwise; only with scale_from_zero=true"),
		DialTimeout:     set.Duration("dial_timeout", 3*time.Second, "time to connect to a replica"),
		UpstreamTimeout: set.Duration("upstream_timeout", time.Minute, "time that a replica may be silent, before its response or within it, unless the function is deployed with a longer write_timeout; 0: for ever"),
		UpstreamIdle:    set.Duration("upstream_idle_timeout", 8*time.Second, "time that an unused connection to a replica is kept"),
		UpstreamConns:   set.Int("max_idle_conns_per_host", 1024, "unused connections kept per replica"),
	}
	if l.ZeroAfter == 0 {
		set.Fail("zero_duration", "0 would end functions that are about to be invoked: want some time, such as 15m")
	}
	return l
}

// DefaultLimits are those of an empty environment.
func DefaultLimits() Limits { return ReadLimits(env.New(nil)) }

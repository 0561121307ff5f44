package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Replica is a running copy of a function. Its methods other than Wait are called
// by the function's goroutine.
type Replica interface {
	Info() Info
	// Terminate asks the replica to stop, Kill ends it. That it has ended already
	// is no error.
	Terminate() error
	Kill() error
	// DeliverToken replaces the replica's token.
	DeliverToken(value []byte) error
	// Wait returns how the replica ended, in words such as "exited with status 2".
	// It returns early when ctx ends; an error of another kind means that the
	// replica can no longer be watched, and it counts as ended.
	Wait(ctx context.Context) (how string, err error)
}

// Info of a replica. It never changes.
type Info struct {
	ID          string
	Revision    int
	URL         string // where its watchdog listens
	Started     time.Time
	StopTimeout time.Duration // from Terminate to Kill
	Usage       func() runtime.Usage
}

// Want is what a function should be. It never changes.
type Want struct {
	Deployment runtime.Deployment
	CreatedAt  time.Time
	Revision   int // counts the function's updates
	Desired    int
	Deleted    bool
	// Launch starts a replica of this revision with a token, nil if functions get
	// none. If it fails nothing is left of the replica. Besides other errors,
	// which delay the next attempt more each time, it may return a Later or
	// ErrNoRoom.
	Launch func(token []byte) (Replica, error)
}

// Keeper is told what becomes of a function's replicas, by the function's
// goroutine.
type Keeper interface {
	// Running is told the replicas that there are, before they are shown.
	Running(replicas []Replica)
	// Ended cleans up after a replica that has ended and returns the last line
	// that it wrote.
	Ended(r Replica) (lastLine string)
	// Gone cleans up after a function that was deleted and whose last replica has
	// ended.
	Gone()
}

// Later is the error of a Launch that waits for something that is under way.
type Later struct {
	Why string
	At  time.Time // of the next attempt
}

func (l Later) Error() string { return l.Why }

// ErrNoRoom is the error of a Launch that lacks what only one replica can have.
// During an update, one of the former deployment then leaves first.
var ErrNoRoom = errors.New("no room")

// replica is a Replica as the function's goroutine sees it.
type replica struct {
	Replica
	info     Info
	cancel   context.CancelFunc // ends what watches it
	phase    phase
	deadline time.Time
	health   health
	served   bool // it was ready, for the present deployment
}

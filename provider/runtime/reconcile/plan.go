package reconcile

import (
	"cmp"
	"slices"
	"time"
)

// phase of a replica whose process runs.
type phase int

const (
	up       phase = iota // serves, or will
	leaving               // no longer shown to anybody, about to be asked to stop
	stopping              // asked to stop
	killed
)

// view is what plan needs to know of a replica.
type view struct {
	id       string
	old      bool // of a former deployment
	ready    bool
	phase    phase
	started  time.Time
	deadline time.Time // of a phase that ends by itself
}

type verb int

const (
	start     verb = iota // one more replica
	leave                 // show it to nobody any more
	terminate             // ask it to stop
	kill
)

// action is one step; start has no replica.
type action struct {
	verb    verb
	replica string
}

// plan decides what to do now, and when to look again if nothing happens before
// (zero: no need). No replica is started before startAfter.
//
// During an update, replicas of the new deployment are started one at a time;
// each that is ready lets one of the former deployment go. Those of the former
// stay as long as the new ones do not become ready.
func plan(now time.Time, desired int, startAfter time.Time, replicas []view) (actions []action, next time.Time) {
	var current, former []view
	for _, r := range replicas {
		switch {
		case r.phase == up && r.old:
			former = append(former, r)
		case r.phase == up:
			current = append(current, r)
		case r.phase == killed:
		case now.Before(r.deadline):
			next = earliest(next, r.deadline)
		case r.phase == leaving:
			actions = append(actions, action{terminate, r.id})
		default:
			actions = append(actions, action{kill, r.id})
		}
	}
	ready, starting := 0, 0
	for _, r := range current {
		if r.ready {
			ready++
		} else {
			starting++
		}
	}
	actions = append(actions, retire(current, desired)...)
	actions = append(actions, retire(former, max(0, desired-ready))...)

	missing := desired - len(current)
	if len(former) > 0 {
		missing = min(missing, 1-starting)
	}
	if missing > 0 && now.Before(startAfter) {
		next = earliest(next, startAfter)
		missing = 0
	}
	for range missing {
		actions = append(actions, action{verb: start})
	}
	return actions, next
}

// retire lets all but keep replicas go: first those that are not ready, then the
// newest.
func retire(replicas []view, keep int) []action {
	if len(replicas) <= keep {
		return nil
	}
	slices.SortFunc(replicas, func(a, b view) int {
		if a.ready != b.ready {
			if b.ready {
				return -1
			}
			return 1
		}
		return cmp.Or(b.started.Compare(a.started), cmp.Compare(b.id, a.id))
	})
	var actions []action
	for _, r := range replicas[:len(replicas)-keep] {
		actions = append(actions, action{leave, r.id})
	}
	return actions
}

// earliest of two times of which either may be zero, which is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

const (
	firstBackoff = time.Second
	lastBackoff  = time.Minute
)

// backoff delays the start of replicas after one ended by itself: longer each
// time, and from the beginning after one that lived as long as the longest delay.
type backoff struct {
	failures int
	last     time.Time // when a replica ended or did not start
	until    time.Time
}

// failed notes that a replica that was started at started ended now. Replicas
// that end together count once.
func (b *backoff) failed(now, started time.Time) {
	if started.Before(b.last) {
		return
	}
	if now.Sub(started) >= lastBackoff {
		b.failures = 0
	}
	delay := lastBackoff
	if b.failures < 6 { // 1, 2, 4 … 32 s
		delay = firstBackoff << b.failures
	}
	b.failures++
	b.last, b.until = now, now.Add(delay)
}

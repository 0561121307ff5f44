package locality

import (
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// longestFailure is for how long at most a device is not chosen for a model that
// failed there: the clock of its node, which says when, may be wrong.
const longestFailure = 5 * time.Minute

// failure is a model that a device cannot have for now. If it were chosen, it would
// look like the best of all: it is done with each request at once.
type failure struct {
	model  *model
	device *device
	until  instant
}

func (f failure) is(m *model, d *device) bool { return f.model == m && f.device == d }

// fails reports whether d cannot have m for now.
func (s *Scheduler) fails(m *model, d *device) bool {
	for _, f := range s.failures {
		if f.is(m, d) {
			return true
		}
	}
	return false
}

// failed takes over that a model could not be brought to a device, or that it may
// be tried again, and asks to be called again once it may.
func (s *Scheduler) failed(e sched.Event) {
	m, d := s.models[e.Model], s.byID[e.Device]
	if m == nil || d == nil {
		return
	}
	s.forgetFailures(func(f failure) bool { return f.is(m, d) })
	if until := min(e.At.Sub(s.epoch), s.now+longestFailure); !e.At.IsZero() && until > s.now {
		s.failures = append(s.failures, failure{m, d, until})
		s.actions = append(s.actions, sched.Action{Kind: sched.Alarm, At: s.epoch.Add(until)})
	}
	s.relaneLines(m.lines)
}

// tryAgain ends the failures whose time is over.
func (s *Scheduler) tryAgain() {
	if len(s.failures) == 0 {
		return
	}
	var over []*model
	s.forgetFailures(func(f failure) bool {
		if f.until > s.now {
			return false
		}
		over = append(over, f.model)
		return true
	})
	for _, m := range over {
		s.relaneLines(m.lines)
	}
}

func (s *Scheduler) forgetFailures(which func(failure) bool) {
	s.failures = slices.DeleteFunc(s.failures, which)
}

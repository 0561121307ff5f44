package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// shown is what was last published of a function's replicas.
type shown struct {
	replicas  []shownReplica
	revisions []string // running
	present   int      // revision
	problem   string
	inVain    int
}

type shownReplica struct {
	id    string
	ready bool
}

// public is a function without its replicas.
func (f *Function) public() *runtime.Function {
	w := f.want.Load()
	return &runtime.Function{
		Deployment: w.Deployment, UID: f.uid, CreatedAt: w.CreatedAt, Desired: w.Desired,
		Revisions: []string{revisionName(f.uid, w.Revision)},
	}
}

func (f *Function) running() []Replica {
	replicas := make([]Replica, len(f.replicas))
	for i, r := range f.replicas {
		replicas[i] = r.Replica
	}
	return replicas
}

// show publishes replicas and problem if they have changed.
func (f *Function) show(desired int) {
	f.keeper.Running(f.running())
	var next shown
	var replicas []runtime.Replica
	for _, r := range f.replicas {
		if r.phase != up {
			continue
		}
		next.replicas = append(next.replicas, shownReplica{r.info.ID, r.health.ready})
		replicas = append(replicas, runtime.Replica{
			ID: r.info.ID, Node: f.all.config.Node, URL: r.info.URL,
			Ready: r.health.ready, Started: r.info.Started, Usage: r.info.Usage,
		})
	}
	for _, revision := range f.runningRevisions() {
		next.revisions = append(next.revisions, revisionName(f.uid, revision))
	}
	next.present = f.revision
	next.problem, next.inVain = f.problem(desired), f.inVain
	if next.equal(f.shown) {
		return
	}
	f.shown = next
	f.all.board.change(f.id, f.uid, func(shown *runtime.Function) {
		shown.Replicas, shown.Problem = replicas, next.problem
		// An update may have shown a later present one meanwhile.
		if present := shown.Revisions[0]; present == revisionName(f.uid, next.present) {
			shown.InVain = next.inVain
		}
		shown.Revisions = revisions(shown.Revisions[0], next.revisions)
	})
}

func (s shown) equal(t shown) bool {
	return slices.Equal(s.replicas, t.replicas) && slices.Equal(s.revisions, t.revisions) &&
		s.present == t.present && s.problem == t.problem && s.inVain == t.inVain
}

// revisions lists the present one and then the others.
func revisions(present string, others []string) []string {
	list := []string{present}
	for _, r := range others {
		if r != present {
			list = append(list, r)
		}
	}
	return list
}

// problem says why replicas are missing. A failure is forgotten once none are.
func (f *Function) problem(desired int) string {
	ready, former, reason := 0, 0, ""
	for _, r := range f.replicas {
		switch {
		case r.phase != up:
		case r.info.Revision != f.revision:
			former++
		case r.health.ready:
			ready++
		case reason == "" && r.health.reason != "":
			reason = "replica " + r.info.ID + " is not ready: " + r.health.reason
		}
	}
	if ready >= desired {
		f.failure = ""
		return ""
	}
	if reason == "" {
		reason = f.failure
	}
	if reason != "" && former > 0 {
		return "the former deployment stays, as the new one does not become ready: " + reason
	}
	return reason
}

func startFailure(err error, b backoff) string {
	return fmt.Sprintf("cannot be started: %v; tried again after %v", err, delay(b))
}

func endFailure(r Info, how, line string, now time.Time, b backoff) string {
	text := fmt.Sprintf("replica %s %s after %v; restarted after %v", r.ID, how, now.Sub(r.Started).Round(10*time.Millisecond), delay(b))
	if line != "" {
		text += "; the last line of its log: " + line
	}
	return text
}

func delay(b backoff) time.Duration { return b.until.Sub(b.last) }

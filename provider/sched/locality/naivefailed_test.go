package locality

import (
	"slices"

	"github.com/faas-gpu/faas-gpu/provider/sched"
)

// naiveFailure is a model that a device cannot have for now.
type naiveFailure struct {
	model  string
	device *naiveDevice
	until  instant
}

func (n *naive) fails(model string, d *naiveDevice) bool {
	return slices.ContainsFunc(n.failures, func(f naiveFailure) bool { return f.model == model && f.device == d })
}

func (n *naive) failed(e sched.Event) {
	i := slices.IndexFunc(n.devices, func(d *naiveDevice) bool { return d.ID == e.Device })
	if n.models[e.Model] == nil || i < 0 {
		return
	}
	d := n.devices[i]
	n.failures = slices.DeleteFunc(n.failures, func(f naiveFailure) bool { return f.model == e.Model && f.device == d })
	if until := min(e.At.Sub(n.epoch), n.now+longestFailure); !e.At.IsZero() && until > n.now {
		n.failures = append(n.failures, naiveFailure{e.Model, d, until})
		n.out = append(n.out, sched.Action{Kind: sched.Alarm, At: n.epoch.Add(until)})
	}
	n.relaneModel(e.Model)
}

// tryAgain ends the failures whose time is over.
func (n *naive) tryAgain() {
	var over []string
	n.failures = slices.DeleteFunc(n.failures, func(f naiveFailure) bool {
		if f.until > n.now {
			return false
		}
		over = append(over, f.model)
		return true
	})
	for _, model := range over {
		n.relaneModel(model)
	}
}

func (n *naive) relaneModel(model string) {
	var lines []*naiveLine
	for _, l := range n.lines {
		if l.model == model {
			lines = append(lines, l)
		}
	}
	n.relaneLines(lines)
}

// removeUnused forgets the models that are gone and that no request has.
func (n *naive) removeUnused() {
	for name, m := range n.models {
		if m.gone {
			n.removeModel(name)
		}
	}
}

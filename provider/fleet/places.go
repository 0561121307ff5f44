package fleet

import (
	"slices"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/sched/place"
)

// assumedNetwork is how fast a model is sent to a node that lacks it, in bytes per
// nanosecond; nothing measures that.
const assumedNetwork = 0.1

// Places is what a replica of a function needs, and the nodes that are connected
// with what it would find there. replicas counts those that it has by node.
func (f *Fleet) Places(revisions []api.FunctionRef, replicas map[string]int) (place.Want, []place.Node) {
	var digests []string
	for _, ref := range revisions {
		if digests = f.names.all(ref); len(digests) > 0 {
			break
		}
	}
	var want place.Want
	for _, digest := range digests {
		want.Models = append(want.Models, place.Model{Name: digest, Bytes: f.models[digest].bytes})
	}
	var nodes []place.Node
	for _, n := range f.nodes {
		nodes = append(nodes, f.place(n, digests, replicas[n.name]))
	}
	slices.SortFunc(nodes, func(a, b place.Node) int { return strings.Compare(a.Name, b.Name) })
	return want, nodes
}

// all are the files of a function, of each model the version that is served.
func (n names) all(ref api.FunctionRef) []string {
	var digests []string
	for _, m := range n[ref] {
		if served, _ := n.find(ref, m.name, ""); !slices.Contains(digests, served.Digest) {
			digests = append(digests, served.Digest)
		}
	}
	slices.Sort(digests)
	return digests
}

// place is n as it is for a replica with those models.
func (f *Fleet) place(n *node, digests []string, replicas int) place.Node {
	out := place.Node{
		Name: n.name, Replicas: replicas, Free: n.host.Budget - n.host.Used,
		Staged: map[string]bool{}, Stored: map[string]bool{},
	}
	for _, d := range n.devices {
		to := place.Device{
			ID: d.own, Budget: d.Budget, Free: d.free, Resident: map[string]bool{}, Prices: map[string]place.Price{},
			Wait: time.Duration(float64(d.busy) * d.class.compute.or(assumedCompute) / float64(d.Slots)),
		}
		for _, digest := range digests {
			m := f.models[digest]
			p := f.price(m, d.class)
			to.Prices[digest] = place.Price{
				Send: time.Duration(float64(m.size) / assumedNetwork), Load: p.Load, Swap: p.Swap, Compute: p.Compute,
			}
			if c := n.models[digest]; c != nil {
				out.Stored[digest], out.Staged[digest] = true, c.staged
				to.Resident[digest] = c.resident[d.own]
			}
		}
		out.Devices = append(out.Devices, to)
	}
	return out
}

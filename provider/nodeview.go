package provider

import (
	"cmp"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// NodeView is what is known of a node. It is never changed.
type NodeView struct {
	Address   string             `json:"address"`
	Connected bool               `json:"connected"`
	Problem   string             `json:"problem,omitempty"` // why it is not connected
	Node      string             `json:"node"`
	Epoch     string             `json:"epoch"`
	Devices   []api.DeviceStatus `json:"devices"` // by ID
	Host      api.PoolStatus     `json:"host"`
	Models    []api.ModelStatus  `json:"models"` // by digest
}

func newNodeView(address string) *NodeView {
	return &NodeView{
		Address: address, Problem: "not connected yet",
		Devices: []api.DeviceStatus{}, Models: []api.ModelStatus{},
	}
}

// apply returns the view after one message of the status stream.
func (v *NodeView) apply(s api.NodeStatus) *NodeView {
	next := *v
	next.Connected, next.Problem = true, ""
	next.Node, next.Epoch = s.Node, s.Epoch
	if s.Full {
		next.Devices, next.Models, next.Host = []api.DeviceStatus{}, []api.ModelStatus{}, api.PoolStatus{}
	}
	next.Devices = merge(next.Devices, s.Devices, func(d api.DeviceStatus) string { return d.ID })
	next.Models = merge(next.Models, s.Models, func(m api.ModelStatus) string { return m.Digest })
	if len(s.Gone) > 0 {
		next.Models = slices.DeleteFunc(slices.Clone(next.Models), func(m api.ModelStatus) bool {
			return slices.Contains(s.Gone, m.Digest)
		})
	}
	if s.Host != nil {
		next.Host = *s.Host
	}
	return &next
}

// merge returns known, which is sorted by key, with what changed put in. known
// itself stays as it is.
func merge[T any](known, changed []T, key func(T) string) []T {
	if len(changed) == 0 {
		return known
	}
	out := slices.Clone(known)
	for _, c := range changed {
		at, found := slices.BinarySearchFunc(out, key(c), func(have T, k string) int { return cmp.Compare(key(have), k) })
		if found {
			out[at] = c
		} else {
			out = slices.Insert(out, at, c)
		}
	}
	return out
}

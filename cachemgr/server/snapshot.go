package server

import (
	"cmp"
	"maps"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// snapshot is what a node shows: the manager's state with the functions' names.
type snapshot struct {
	devices []api.DeviceStatus
	host    api.PoolStatus
	models  map[string]api.ModelStatus // by digest
}

// newSnapshot joins the manager's files and the catalog's names. A file that is
// known on one side only (it is being added, or drains) is shown too.
func newSnapshot(st cachemgr.Status, entries []*entry) snapshot {
	s := snapshot{devices: slices.Concat([]api.DeviceStatus{}, st.Devices), host: st.Host, models: make(map[string]api.ModelStatus, len(st.Models))}
	for digest, m := range st.Models {
		s.models[digest] = modelStatus(digest, m)
	}
	for _, e := range entries {
		m, ok := s.models[e.offer.Digest]
		if !ok {
			m = modelStatus(e.offer.Digest, cachemgr.ModelState{Estimated: true})
		}
		m.Size = e.offer.Size
		m.Names = append(m.Names, api.ModelName{Function: e.function, Name: e.offer.Name, Version: e.offer.Version, SLO: e.offer.Config.SLO})
		s.models[e.offer.Digest] = m
	}
	for _, m := range s.models {
		slices.SortFunc(m.Names, compareNames)
	}
	return s
}

func modelStatus(digest string, m cachemgr.ModelState) api.ModelStatus {
	instances := m.Instances
	if instances == nil {
		instances = []api.InstanceStatus{} // a list in JSON, not null
	}
	return api.ModelStatus{
		Digest: digest, Names: []api.ModelName{}, Staged: m.Staged, Pinned: m.Pinned,
		Estimated: m.Estimated, Bytes: m.Bytes, StageNs: m.StageNs, Instances: instances, Stats: m.Stats,
	}
}

func compareNames(a, b api.ModelName) int {
	return cmp.Or(
		cmp.Compare(a.Function.Namespace, b.Function.Namespace),
		cmp.Compare(a.Function.Name, b.Function.Name),
		cmp.Compare(a.Function.UID, b.Function.UID),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Version, b.Version))
}

// full is the snapshot as the first message of a stream.
func (s snapshot) full() api.NodeStatus {
	host := s.host
	n := api.NodeStatus{Full: true, Devices: s.devices, Host: &host}
	for _, digest := range slices.Sorted(maps.Keys(s.models)) {
		n.Models = append(n.Models, s.models[digest])
	}
	return n
}

// delta is the message that leads from old to s; changed is false if there is
// nothing to say.
func (s snapshot) delta(old snapshot) (n api.NodeStatus, changed bool) {
	for _, d := range s.devices {
		if !slices.Contains(old.devices, d) {
			n.Devices = append(n.Devices, d)
		}
	}
	if s.host != old.host {
		host := s.host
		n.Host = &host
	}
	for _, digest := range slices.Sorted(maps.Keys(s.models)) {
		if was, ok := old.models[digest]; !ok || !equalModels(was, s.models[digest]) {
			n.Models = append(n.Models, s.models[digest])
		}
	}
	for _, digest := range slices.Sorted(maps.Keys(old.models)) {
		if _, ok := s.models[digest]; !ok {
			n.Gone = append(n.Gone, digest)
		}
	}
	return n, n.Devices != nil || n.Host != nil || n.Models != nil || n.Gone != nil
}

func equalModels(a, b api.ModelStatus) bool {
	return a.Digest == b.Digest && a.Size == b.Size && a.Staged == b.Staged && a.Pinned == b.Pinned &&
		a.Estimated == b.Estimated && a.Bytes == b.Bytes && a.StageNs == b.StageNs && a.Stats == b.Stats &&
		slices.Equal(a.Names, b.Names) && slices.Equal(a.Instances, b.Instances)
}

// of is the part of a snapshot that one function sees: its own models under its
// own names.
func (s snapshot) of(ref api.FunctionRef) []api.ModelStatus {
	out := []api.ModelStatus{}
	for _, digest := range slices.Sorted(maps.Keys(s.models)) {
		m := s.models[digest]
		m.Names = slices.DeleteFunc(slices.Clone(m.Names), func(n api.ModelName) bool { return n.Function != ref })
		if len(m.Names) > 0 {
			out = append(out, m)
		}
	}
	return out
}

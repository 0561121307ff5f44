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
	models  map[string]*api.ModelStatus // by digest; what they point to never changes
}

// naming is what functions call a file, and its size.
type naming struct {
	size  int64
	names []api.ModelName // sorted
}

// namings are the catalog's, by digest.
func namings(entries []*entry) map[string]naming {
	known := make(map[string]naming)
	for _, e := range entries {
		n := known[e.offer.Digest]
		n.size = e.offer.Size
		n.names = append(n.names, api.ModelName{Function: e.function, Name: e.offer.Name, Version: e.offer.Version, SLO: e.offer.Config.SLO})
		known[e.offer.Digest] = n
	}
	for _, n := range known {
		slices.SortFunc(n.names, compareNames)
	}
	return known
}

// newSnapshot joins the manager's files and the catalog's names. A file that is
// known on one side only (it is being added, or drains) is shown too. What is as it
// was in old is taken from there: on a busy node a few of perhaps a thousand models
// change from one snapshot to the next, hundreds of times a second.
func newSnapshot(st cachemgr.Status, known map[string]naming, old snapshot) snapshot {
	s := snapshot{
		devices: slices.Concat([]api.DeviceStatus{}, st.Devices), host: st.Host,
		models: make(map[string]*api.ModelStatus, max(len(st.Models), len(known))),
	}
	add := func(digest string, m cachemgr.ModelState) {
		next := modelStatus(digest, m, known[digest])
		if was := old.models[digest]; was != nil && equalModels(was, &next) {
			s.models[digest] = was
			return
		}
		shown := next
		s.models[digest] = &shown
	}
	for digest, m := range st.Models {
		add(digest, m)
	}
	for digest := range known {
		if _, ok := st.Models[digest]; !ok {
			add(digest, cachemgr.ModelState{Estimated: true})
		}
	}
	return s
}

func modelStatus(digest string, m cachemgr.ModelState, n naming) api.ModelStatus {
	instances, names := m.Instances, n.names
	if instances == nil {
		instances = []api.InstanceStatus{} // a list in JSON, not null
	}
	if names == nil {
		names = []api.ModelName{}
	}
	return api.ModelStatus{
		Digest: digest, Size: n.size, Names: names, Staged: m.Staged, Pinned: m.Pinned,
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
		n.Models = append(n.Models, *s.models[digest])
	}
	return n
}

// delta is the message that leads to s from old, which s was made after; changed is
// false if there is nothing to say.
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
	for digest, m := range s.models {
		if old.models[digest] != m {
			n.Models = append(n.Models, *m)
		}
	}
	slices.SortFunc(n.Models, func(a, b api.ModelStatus) int { return cmp.Compare(a.Digest, b.Digest) })
	for digest := range old.models {
		if _, ok := s.models[digest]; !ok {
			n.Gone = append(n.Gone, digest)
		}
	}
	slices.Sort(n.Gone)
	return n, n.Devices != nil || n.Host != nil || n.Models != nil || n.Gone != nil
}

func equalModels(a, b *api.ModelStatus) bool {
	return a.Digest == b.Digest && a.Size == b.Size && a.Staged == b.Staged && a.Pinned == b.Pinned &&
		a.Estimated == b.Estimated && a.Bytes == b.Bytes && a.StageNs == b.StageNs && a.Stats == b.Stats &&
		slices.Equal(a.Names, b.Names) && slices.Equal(a.Instances, b.Instances)
}

// of is the part of a snapshot that one function sees: its own models under its
// own names.
func (s snapshot) of(ref api.FunctionRef) []api.ModelStatus {
	out := []api.ModelStatus{}
	for _, digest := range slices.Sorted(maps.Keys(s.models)) {
		m := *s.models[digest]
		m.Names = slices.DeleteFunc(slices.Clone(m.Names), func(n api.ModelName) bool { return n.Function != ref })
		if len(m.Names) > 0 {
			out = append(out, m)
		}
	}
	return out
}

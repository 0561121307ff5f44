package fleet

import (
	"slices"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// names is which file a function means by the name of a model, over all nodes.
type names map[api.FunctionRef][]named

// named is one version of a model under its name.
type named struct {
	name, version string
	digest        string
	slo           time.Duration // of its model.yaml, 0 for none
	nodes         int           // that say so
}

// Model is the file that a request uses.
type Model struct {
	Digest string
	SLO    time.Duration // of its model.yaml, 0 for none
}

func (n names) add(digest string, m api.ModelName) {
	list := n[m.Function]
	for i := range list {
		if list[i].name == m.Name && list[i].version == m.Version && list[i].digest == digest {
			list[i].nodes++
			return
		}
	}
	slo, err := time.ParseDuration(m.SLO)
	if err != nil {
		slo = 0 // the node has checked it: there is none
	}
	n[m.Function] = append(list, named{name: m.Name, version: m.Version, digest: digest, slo: slo, nodes: 1})
}

func (n names) remove(digest string, m api.ModelName) {
	list := n[m.Function]
	for i := range list {
		if list[i].name != m.Name || list[i].version != m.Version || list[i].digest != digest {
			continue
		}
		if list[i].nodes--; list[i].nodes == 0 {
			list = slices.Delete(list, i, i+1)
		}
		break
	}
	if len(list) == 0 {
		delete(n, m.Function)
		return
	}
	n[m.Function] = list
}

// find is the file that a function means: of that version, or of the highest. An
// empty name means the only one that it has.
func (n names) find(ref api.FunctionRef, name, version string) (Model, bool) {
	var best *named
	list := n[ref]
	for i := range list {
		m := &list[i]
		switch {
		case name != "" && m.name != name, version != "" && m.version != version:
			continue
		case best != nil && best.name != m.name:
			return Model{}, false // several, and none was named
		case best == nil || number(m.version) > number(best.version):
			best = m
		}
	}
	if best == nil {
		return Model{}, false
	}
	return Model{Digest: best.digest, SLO: best.slo}, true
}

// number of a version; names that are none come first.
func number(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// replace takes the former names of a file on a node back, and takes the present
// ones over.
func (n names) replace(digest string, before, now []api.ModelName) {
	if slices.Equal(before, now) {
		return
	}
	for _, m := range now {
		n.add(digest, m)
	}
	for _, m := range before {
		n.remove(digest, m)
	}
}

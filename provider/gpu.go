package provider

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// gpuReport answers GET /system/gpu.
type gpuReport struct {
	Nodes     []NodeView       `json:"nodes"`
	Functions []functionReport `json:"functions"`
	// Warnings and Unenforced are the runtime's.
	Warnings   []string `json:"warnings"`
	Unenforced []string `json:"unenforced"`
}

// functionReport is one function with its models over all nodes. The counts are
// of the models' files: functions with equal files share them.
type functionReport struct {
	Name        string        `json:"name"`
	Namespace   string        `json:"namespace"`
	Replicas    int           `json:"replicas"`
	Available   int           `json:"available_replicas"`
	Problem     string        `json:"problem,omitempty"`
	Invocations float64       `json:"invocations"`
	Hits        int64         `json:"hits"`
	Swaps       int64         `json:"swaps"`
	Loads       int64         `json:"loads"`
	Failures    int64         `json:"failures"`
	Evictions   int64         `json:"evictions"`
	SLO         *sloReport    `json:"slo,omitempty"` // once a request has had one
	Models      []modelReport `json:"models"`
}

// modelReport is one model of a function on one node.
type modelReport struct {
	Name      string               `json:"name"`
	Version   string               `json:"version"`
	Digest    string               `json:"digest"`
	Node      string               `json:"node"`
	Bytes     int64                `json:"bytes"`
	Staged    bool                 `json:"staged"`
	Instances []api.InstanceStatus `json:"instances"`

	lost bool // the node is not connected: this is how it was last
}

// gpu answers GET /system/gpu: where models are, and what it costs. Programs get
// JSON; people, by ?format=table or a client that asks for text, a table.
func (p *Provider) gpu(w http.ResponseWriter, r *http.Request) {
	report := p.report()
	if !wantsTable(r) {
		writeJSON(w, report)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	report.table(w)
}

func wantsTable(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "table":
		return true
	case "json":
		return false
	}
	accept := r.Header.Get("Accept")
	if strings.Contains(accept, "json") {
		return false // programs that take anything else too
	}
	return strings.Contains(accept, "text/plain") || strings.HasPrefix(r.UserAgent(), "curl/")
}

func (p *Provider) report() gpuReport {
	info := p.cfg.Runtime.Info()
	report := gpuReport{
		Nodes: p.cfg.Nodes.Views(), Functions: []functionReport{},
		Warnings: notNull(info.Warnings), Unenforced: notNull(info.Unenforced),
	}
	byFunction := make(map[api.FunctionRef]*functionReport)
	var functions []*functionReport
	for id, f := range p.cfg.Runtime.Snapshot().Functions {
		described := p.describe(id, f)
		functions = append(functions, described)
		for _, ref := range dispatch.Revisions(id, f) {
			byFunction[ref] = described
		}
	}
	for _, node := range report.Nodes {
		for _, m := range node.Models {
			addModel(byFunction, node, m)
		}
	}
	for _, f := range functions {
		report.Functions = append(report.Functions, *f)
	}
	slices.SortFunc(report.Functions, func(a, b functionReport) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return report
}

// notNull makes an empty list of none: in JSON it is [] then.
func notNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (p *Provider) describe(id runtime.ID, f *runtime.Function) *functionReport {
	return &functionReport{
		Name: id.Name, Namespace: id.Namespace,
		Replicas: f.Desired, Available: function.ReadyReplicas(f), Problem: f.Problem,
		Invocations: p.counts.total(id), SLO: p.counts.slo(id, time.Now()), Models: []modelReport{},
	}
}

// addModel adds a node's model to every function that has it, its counts once.
func addModel(functions map[api.FunctionRef]*functionReport, node NodeView, m api.ModelStatus) {
	counted := make(map[*functionReport]bool, len(m.Names))
	for _, n := range m.Names {
		f := functions[n.Function]
		if f == nil {
			continue // deleted; the node has not been told yet
		}
		f.addName(n, node, m)
		if counted[f] {
			continue
		}
		counted[f] = true
		f.Hits += m.Stats.Hits
		f.Swaps += m.Stats.Swaps
		f.Loads += m.Stats.Loads
		f.Failures += m.Stats.Failures
		f.Evictions += m.Stats.Evictions
	}
}

// addName adds a model under one of its names, once: during an update both
// revisions of a function have it.
func (f *functionReport) addName(n api.ModelName, node NodeView, m api.ModelStatus) {
	for _, have := range f.Models {
		if have.Name == n.Name && have.Version == n.Version && have.Digest == m.Digest && have.Node == node.Node {
			return
		}
	}
	f.Models = append(f.Models, modelReport{
		Name: n.Name, Version: n.Version, Digest: m.Digest, Node: node.Node,
		Bytes: m.Bytes, Staged: m.Staged, Instances: notNull(m.Instances), lost: !node.Connected,
	})
}

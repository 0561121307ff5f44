// Package imports holds the directions of imports between the parts of the
// project: see docs/architecture.md.
package imports

import (
	"encoding/json"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/faas-gpu/faas-gpu/"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,CgoFiles", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 5 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	return pkgs
}

// under reports whether p is one of the packages, or below one that ends in /…
func under(p string, patterns ...string) bool {
	for _, pattern := range patterns {
		if base, ok := strings.CutSuffix(pattern, "/..."); ok && (p == base || strings.HasPrefix(p, base+"/")) || p == pattern {
			return true
		}
	}
	return false
}

// standard reports whether p is in the standard library.
func standard(p string) bool { return !strings.Contains(strings.Split(p, "/")[0], ".") }

func TestPureLeaves(t *testing.T) {
	// These decide or describe; beside the standard library they import only the
	// leaf types named.
	leaves := map[string][]string{
		"cachemgr/api/tensor":     nil,
		"cachemgr/engine":         {"cachemgr/api/tensor"},
		"cachemgr/arrival":        nil,
		"cachemgr/policy":         nil,
		"cachemgr/queue":          nil,
		"provider/sched":          nil,
		"provider/sched/locality": {"provider/sched"},
		"provider/sched/place":    nil,
	}
	for _, p := range list(t) {
		allowed, ok := leaves[strings.TrimPrefix(p.ImportPath, module)]
		if !ok {
			continue
		}
		for _, i := range p.Imports {
			if !standard(i) && !under(strings.TrimPrefix(i, module), allowed...) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

func TestDirections(t *testing.T) {
	wiring := []string{"stack/...", "cachemgr/...", "native/..."}
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		isMain := strings.Contains(from, "/cmd/")
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			switch {
			case !ours || isMain:
			case under(from, "provider/...", "watchdog/...") && under(to, "cachemgr/...") && !under(to, "cachemgr/api/..."):
				t.Errorf("%s imports %s: only cachemgr/api may be known there", from, to)
			case under(from, "watchdog/...") && under(to, "provider/..."):
				t.Errorf("%s imports %s: nothing calls back", from, to)
			case under(from, "cachemgr/...", "native/...") && under(to, "provider/...", "watchdog/..."):
				t.Errorf("%s imports %s: nothing calls back", from, to)
			case under(to, "cachemgr", "cachemgr/server/...", "native/...") && !under(from, wiring...):
				t.Errorf("%s imports %s: only programs and stack may", from, to)
			case under(from, "internal/...") && !under(to, "internal/..."):
				t.Errorf("%s imports %s: internal packages are leaves", from, to)
			}
		}
	}
}

func TestCgoStaysWhereItIs(t *testing.T) {
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		if len(p.CgoFiles) > 0 && !under(from, "cachemgr/engine/onnxrt", "native/...") {
			t.Errorf("%s has cgo files %v", from, p.CgoFiles)
		}
		for _, i := range p.Imports {
			if path.Base(i) == "onnxruntime_go" && !under(from, "cachemgr/engine/onnxrt/...", "stack/...") {
				t.Errorf("%s imports %s", from, i)
			}
		}
	}
}

package provider

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table writes the report for people.
func (g gpuReport) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tDEVICE\tENGINE\tBUDGET\tRESIDENT\tLOADING\tDRAINING\tRESIDUAL\tRUNNING\tQUEUED\tHOST POOL")
	for _, n := range g.Nodes {
		if !n.Connected {
			fmt.Fprintf(w, "%s\tnot connected: %s\n", either(n.Node, n.Address), n.Problem)
			continue
		}
		for _, d := range n.Devices {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s of %s\n", n.Node, d.ID, d.Engine,
				size(d.Budget), size(d.Resident), size(d.Loading), size(d.Draining), size(d.Residual),
				d.Running, d.Queued, size(n.Host.Used), size(n.Host.Budget))
		}
	}
	fmt.Fprintln(w, "\nFUNCTION\tREADY\tINVOCATIONS\tHITS\tSWAPS\tLOADS\tFAILURES\tEVICTIONS\tSLO MET\tMODEL\tBYTES\tWHERE")
	for _, f := range g.Functions {
		head := fmt.Sprintf("%s.%s\t%d/%d\t%.0f\t%d\t%d\t%d\t%d\t%d\t%s", f.Name, f.Namespace, f.Available, f.Replicas,
			f.Invocations, f.Hits, f.Swaps, f.Loads, f.Failures, f.Evictions, f.SLO)
		if len(f.Models) == 0 {
			fmt.Fprintf(w, "%s\t-\t-\t-\n", head)
		}
		for _, m := range f.Models {
			fmt.Fprintf(w, "%s\t%s/%s\t%s\t%s\n", head, m.Name, m.Version, size(m.Bytes), m.where())
			head = strings.Repeat("\t", strings.Count(head, "\t"))
		}
	}
	w.Flush()
	fmt.Fprintln(out)
	g.notes(out)
}

// notes are what does not fit into columns.
func (g gpuReport) notes(out io.Writer) {
	for _, f := range g.Functions {
		if f.Problem != "" {
			fmt.Fprintf(out, "problem: %s.%s: %s\n", f.Name, f.Namespace, f.Problem)
		}
		for _, m := range f.Models {
			for _, i := range m.Instances {
				// As a rule it is the function's problem, too.
				if i.Reason != "" && !strings.Contains(f.Problem, i.Reason) {
					fmt.Fprintf(out, "problem: %s.%s: model %s/%s on %s/%s: %s\n", f.Name, f.Namespace, m.Name, m.Version, m.Node, i.Device, i.Reason)
				}
			}
		}
	}
	if g.filesAreShared() {
		fmt.Fprintln(out, "note: HITS to EVICTIONS are counted per model file; functions with equal files show the same counts")
	}
	for _, line := range g.Warnings {
		fmt.Fprintln(out, "warning:", line)
	}
	for _, line := range g.Unenforced {
		fmt.Fprintln(out, "not enforced:", line)
	}
}

// filesAreShared reports whether two functions have equal model files.
func (g gpuReport) filesAreShared() bool {
	owner := make(map[string]int)
	for i, f := range g.Functions {
		for _, m := range f.Models {
			if o, ok := owner[m.Digest]; ok && o != i {
				return true
			}
			owner[m.Digest] = i
		}
	}
	return false
}

// where says in words on which devices a model is.
func (m modelReport) where() string {
	if m.lost {
		return m.Node + " is not connected"
	}
	var places []string
	for _, i := range m.Instances {
		places = append(places, fmt.Sprintf("%s on %s/%s", i.State, m.Node, i.Device))
	}
	if len(places) == 0 && m.Staged {
		places = append(places, "host pool of "+m.Node)
	}
	if len(places) == 0 {
		places = append(places, "disk of "+m.Node)
	}
	return strings.Join(places, ", ")
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

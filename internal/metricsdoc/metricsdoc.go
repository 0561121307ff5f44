// Package metricsdoc holds the tables of metrics in docs/metrics.md to what
// programs expose. It is for tests.
package metricsdoc

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// UpdateVariable, if set, makes Check write what programs expose instead of
// comparing it.
const UpdateVariable = "UPDATE_METRICS_DOC"

// Check compares the table of a section with metric families, by their names. The
// section is between <!-- SECTION --> and <!-- /SECTION -->.
func Check(file, section string, families map[string]*dto.MetricFamily) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	open, end := "<!-- "+section+" -->\n", "<!-- /"+section+" -->"
	before, rest, okOpen := strings.Cut(string(text), open)
	got, after, okEnd := strings.Cut(rest, end)
	if !okOpen || !okEnd {
		return fmt.Errorf("%s has no section %s", file, section)
	}
	want := table(families)
	switch {
	case got == want:
		return nil
	case os.Getenv(UpdateVariable) != "":
		return os.WriteFile(file, []byte(before+open+want+end+after), 0o644)
	}
	return fmt.Errorf("section %s of %s is not what is exposed (%s=1 writes it):\n%s", section, file, UpdateVariable, difference(got, want))
}

// common are the metrics that every program in Go has.
var common = []string{"go_", "process_", "promhttp_"}

// table is a line for each family, in the order of their names.
func table(families map[string]*dto.MetricFamily) string {
	out := "\n| name | type | labels | unit | |\n|---|---|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if slices.ContainsFunc(common, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			continue
		}
		f := families[name]
		out += fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), labels(f), unit(name), f.GetHelp())
	}
	return out + "\n"
}

// labels are those that any of the family's series has.
func labels(f *dto.MetricFamily) string {
	all := make(map[string]bool)
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			all["`"+l.GetName()+"`"] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(all)), ", ")
}

// units by what a name, without _total, ends in or is. What counts has none.
var units = map[string]string{
	"_seconds": "s", "_us": "µs", "_bytes": "bytes", "_celsius": "°C",
	"nv_gpu_utilization": "0 to 1", "nv_cpu_utilization": "0 to 1",
	"nv_gpu_power_usage": "W", "nv_gpu_power_limit": "W", "nv_energy_consumption": "J",
}

func unit(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for ending, unit := range units {
		if strings.HasSuffix(name, ending) {
			return unit
		}
	}
	return ""
}

// difference are the lines that only one of two texts has.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	var out []string
	for _, line := range g {
		if !slices.Contains(w, line) {
			out = append(out, "documented: "+line)
		}
	}
	for _, line := range w {
		if !slices.Contains(g, line) {
			out = append(out, "exposed:    "+line)
		}
	}
	return cmp.Or(strings.Join(out, "\n"), "the order of the lines")
}

// Names are the metrics that a page documents, in all of its sections.
func Names(file string) (map[string]bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			names[name] = true
		}
	}
	return names, nil
}

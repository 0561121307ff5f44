package metricsdoc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const page = "# Metrics\n\n<!-- a -->\n<!-- /a -->\n\nText.\n"

const exposed = `# HELP x_seconds_total Time.
# TYPE x_seconds_total counter
x_seconds_total{device="a"} 1
x_seconds_total{device="b",more="c"} 1
# HELP go_threads Threads.
# TYPE go_threads gauge
go_threads 1
# HELP a_bytes Bytes.
# TYPE a_bytes gauge
a_bytes 1
`

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "metrics.md")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(exposed))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(UpdateVariable, "")
	if err := Check(file, "a", families); err == nil || !strings.Contains(err.Error(), "exposed:    | `a_bytes`") {
		t.Errorf("an empty section: %v", err)
	}
	if err := Check(file, "b", families); err == nil || !strings.Contains(err.Error(), "no section b") {
		t.Errorf("another section: %v", err)
	}
	t.Setenv(UpdateVariable, "1")
	if err := Check(file, "a", families); err != nil {
		t.Error(err)
	}
	t.Setenv(UpdateVariable, "")
	if err := Check(file, "a", families); err != nil {
		t.Errorf("what was just written: %v", err)
	}
	text, err := os.ReadFile(file)
	want := "# Metrics\n\n<!-- a -->\n\n| name | type | labels | unit | |\n|---|---|---|---|---|\n" +
		"| `a_bytes` | gauge |  | bytes | Bytes. |\n" +
		"| `x_seconds_total` | counter | `device`, `more` | s | Time. |\n\n<!-- /a -->\n\nText.\n"
	if err != nil || string(text) != want {
		t.Errorf("%v: written\n%s", err, text)
	}
	names, err := Names(file)
	if err != nil || len(names) != 2 || !names["a_bytes"] || !names["x_seconds_total"] {
		t.Errorf("%v, %v", names, err)
	}
	delete(families, "a_bytes")
	if err := Check(file, "a", families); err == nil || !strings.Contains(err.Error(), "documented: | `a_bytes`") {
		t.Errorf("one that is not exposed: %v", err)
	}
}

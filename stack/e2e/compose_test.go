package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestComposeVariables: the programs know every variable that compose.yaml sets; one
// that they do not know would do nothing.
func TestComposeVariables(t *testing.T) {
	help := make(map[string]string)
	for service, program := range map[string]string{"provider": programs.Provider, "cachemgr": programs.Cachemgrd} {
		out, err := exec.CommandContext(t.Context(), program, "-help").Output()
		if err != nil {
			t.Fatal(err)
		}
		help[service] = string(out)
	}
	checked := 0
	for _, file := range []string{"../../compose.yaml", "../compose/gpu.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Services map[string]struct{ Environment map[string]string }
		}
		if err := yaml.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for service, known := range help {
			for name := range c.Services[service].Environment {
				checked++
				if !strings.HasPrefix(name, "NVIDIA_") && !strings.Contains(known, "\n"+name+" ") {
					t.Errorf("%s sets %s, which the %s does not know", file, name, service)
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d variables are set", checked)
	}
}

package machine

import (
	"errors"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

var here = Machine{
	ID: "ID", Name: "here", OS: "linux", Arch: "amd64", CPUs: 2, MemoryBytes: 8 << 30,
	Labels: map[string]string{"zone": "a"}, EngineLabels: map[string]string{"disk": "ssd"},
}

func TestConstraints(t *testing.T) {
	for c, want := range map[string]string{
		"node.platform.os == linux":     "",
		"node.platform.os==windows":     `is "linux"`,
		"node.platform.arch == amd64":   "",
		"node.platform.arch == x86_64":  "",
		"node.platform.arch != aarch64": "",
		"node.hostname != here":         "no node meets",
		"node.id == ID":                 "",
		" node.labels.zone  ==  a ":     "",
		"node.labels.gpu == true":       `node.labels.gpu is ""`,
		"node.labels.gpu != true":       "",
		"engine.labels.disk == ssd":     "",
		"node.role == manager":          "not node.role",
		"zone = a":                      "is possible",
		"":                              "is possible",
	} {
		err := here.Check(&types.FunctionDeployment{Constraints: []string{"node.platform.os == linux", c}})
		if want == "" && err != nil || want != "" && (!errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", c, err, want)
		}
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		requests *types.FunctionResources
		want     string
	}{
		{nil, ""},
		{&types.FunctionResources{}, ""},
		{&types.FunctionResources{Memory: "8Gi", CPU: "2"}, ""},
		{&types.FunctionResources{Memory: "9Gi"}, "the node here has 8589934592 bytes"},
		{&types.FunctionResources{CPU: "2001m"}, "the node here has 2000 thousandths"},
		{&types.FunctionResources{CPU: "much"}, "no quantity"},
	} {
		err := here.Check(&types.FunctionDeployment{Requests: c.requests})
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.requests, err, c.want)
		}
	}
}

func FuzzConstraint(f *testing.F) {
	f.Add("node.labels.a == b")
	f.Add("node.platform.arch != x86_64")
	f.Fuzz(func(t *testing.T, c string) {
		if err := here.meets([]string{c}); err != nil && !errors.Is(err, runtime.ErrInvalid) {
			t.Errorf("%q: an error of another kind: %v", c, err)
		}
	})
}

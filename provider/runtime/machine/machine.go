// Package machine says whether a deployment fits the one machine that a runtime
// has: its placement constraints, and what it needs at least.
package machine

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/openfaas/faas-provider/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Machine is what is known of one.
type Machine struct {
	ID, Name     string
	OS, Arch     string            // in Go's words
	Labels       map[string]string // what constraints call node.labels
	EngineLabels map[string]string
	CPUs         int
	MemoryBytes  int64
}

// Arch is Go's name of a processor that the kernel names.
func Arch(name string) string {
	switch name {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return name
}

// Check is whether a deployment fits. ErrInvalid.
func (m Machine) Check(d *types.FunctionDeployment) error {
	return errors.Join(m.meets(d.Constraints), m.has(d.Requests))
}

var constraint = regexp.MustCompile(`^\s*([A-Za-z0-9./_-]+)\s*(==|!=)\s*(\S+)\s*$`)

// meets is whether a function with these constraints may run here. ErrInvalid.
func (m Machine) meets(constraints []string) error {
	for _, c := range constraints {
		parts := constraint.FindStringSubmatch(c)
		if parts == nil {
			return fmt.Errorf("%w: the constraint %q; one such as node.labels.zone == a is possible", runtime.ErrInvalid, c)
		}
		is, err := m.attribute(parts[1])
		if err != nil {
			return err
		}
		want := parts[3]
		if parts[1] == "node.platform.arch" {
			want = Arch(want)
		}
		if (is == want) != (parts[2] == "==") {
			return fmt.Errorf("%w: no node meets the constraint %q: on %s, the only one, %s is %q", runtime.ErrInvalid, c, m.Name, parts[1], is)
		}
	}
	return nil
}

// attribute is what a name in a constraint stands for.
func (m Machine) attribute(name string) (string, error) {
	if label, ok := strings.CutPrefix(name, "node.labels."); ok {
		return m.Labels[label], nil
	}
	if label, ok := strings.CutPrefix(name, "engine.labels."); ok {
		return m.EngineLabels[label], nil
	}
	switch name {
	case "node.id":
		return m.ID, nil
	case "node.hostname":
		return m.Name, nil
	case "node.platform.os":
		return m.OS, nil
	case "node.platform.arch":
		return m.Arch, nil
	}
	return "", fmt.Errorf("%w: constraints know node.id, node.hostname, node.platform.os, node.platform.arch, node.labels.NAME and engine.labels.NAME, not %s", runtime.ErrInvalid, name)
}

// has is whether the machine is large enough for what a function needs at least.
// ErrInvalid.
func (m Machine) has(requests *types.FunctionResources) error {
	if requests == nil {
		return nil
	}
	return errors.Join(
		m.enough("memory", requests.Memory, m.MemoryBytes, (*resource.Quantity).Value),
		m.enough("cpu", requests.CPU, int64(m.CPUs)*1000, (*resource.Quantity).MilliValue))
}

func (m Machine) enough(kind, asked string, there int64, value func(*resource.Quantity) int64) error {
	if asked == "" {
		return nil
	}
	q, err := resource.ParseQuantity(asked)
	if err != nil {
		return fmt.Errorf("%w: requests.%s: %q is no quantity", runtime.ErrInvalid, kind, asked)
	}
	if value(&q) > there {
		unit := map[string]string{"memory": "bytes", "cpu": "thousandths of a processor"}[kind]
		return fmt.Errorf("%w: requests.%s: %s; the node %s has %d %s", runtime.ErrInvalid, kind, asked, m.Name, there, unit)
	}
	return nil
}

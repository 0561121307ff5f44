package docker

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/openfaas/faas-provider/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

var constraint = regexp.MustCompile(`^\s*([A-Za-z0-9./_-]+)\s*(==|!=)\s*(\S+)\s*$`)

// meets is whether a function with these constraints may run on the node. labels
// are what the operator says of it. ErrInvalid.
func (n node) meets(constraints []string, labels map[string]string) error {
	for _, c := range constraints {
		parts := constraint.FindStringSubmatch(c)
		if parts == nil {
			return fmt.Errorf("%w: the constraint %q; one such as node.labels.zone == a is possible", runtime.ErrInvalid, c)
		}
		is, err := n.attribute(parts[1], labels)
		if err != nil {
			return err
		}
		want := parts[3]
		if parts[1] == "node.platform.arch" {
			want = goArch(want)
		}
		if (is == want) != (parts[2] == "==") {
			return fmt.Errorf("%w: no node meets the constraint %q: on %s, the only one, %s is %q", runtime.ErrInvalid, c, n.Name, parts[1], is)
		}
	}
	return nil
}

// attribute of a node, by the names that constraints have for them.
func (n node) attribute(name string, labels map[string]string) (string, error) {
	if label, ok := strings.CutPrefix(name, "node.labels."); ok {
		return labels[label], nil
	}
	if label, ok := strings.CutPrefix(name, "engine.labels."); ok {
		return n.Labels[label], nil
	}
	switch name {
	case "node.id":
		return n.ID, nil
	case "node.hostname":
		return n.Name, nil
	case "node.platform.os":
		return n.OS, nil
	case "node.platform.arch":
		return n.Arch, nil
	}
	return "", fmt.Errorf("%w: constraints know node.id, node.hostname, node.platform.os, node.platform.arch, node.labels.NAME and engine.labels.NAME, not %s", runtime.ErrInvalid, name)
}

// has is whether the node is large enough for what a function needs at least.
// ErrInvalid.
func (n node) has(requests *types.FunctionResources) error {
	if requests == nil {
		return nil
	}
	return errors.Join(
		n.enough("memory", requests.Memory, n.MemoryBytes, (*resource.Quantity).Value),
		n.enough("cpu", requests.CPU, int64(n.CPUs)*1000, (*resource.Quantity).MilliValue))
}

func (n node) enough(kind, asked string, there int64, value func(*resource.Quantity) int64) error {
	if asked == "" {
		return nil
	}
	q, err := resource.ParseQuantity(asked)
	if err != nil {
		return fmt.Errorf("%w: requests.%s: %q is no quantity", runtime.ErrInvalid, kind, asked)
	}
	if value(&q) > there {
		unit := map[string]string{"memory": "bytes", "cpu": "thousandths of a processor"}[kind]
		return fmt.Errorf("%w: requests.%s: %s; the node %s has %d %s", runtime.ErrInvalid, kind, asked, n.Name, there, unit)
	}
	return nil
}

const (
	minMemory   = 6 << 20 // Docker takes no less
	minNanoCPUs = 10_000_000
	nanoPerMill = 1_000_000
)

// memoryLimit and cpuLimit are a function's limits as Docker takes them here.
func memoryLimit(limits runtime.Resources) int64 {
	if limits.MemoryBytes == 0 {
		return 0
	}
	return max(limits.MemoryBytes, minMemory)
}

func (n node) cpuLimit(limits runtime.Resources) int64 {
	if limits.MilliCPU == 0 {
		return 0
	}
	all := int64(n.CPUs) * 1000
	return max(min(limits.MilliCPU, all)*nanoPerMill, minNanoCPUs)
}

package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faas-gpu/faas-gpu/native/telemetry"
)

// openTelemetry has the node tell what the machine, whose kernel's files are below
// root, and its GPUs say of themselves. They are looked for once; stop ends it.
func (c *config) openTelemetry(ctx context.Context, root string, log *slog.Logger) (stop func(), err error) {
	c.node.Metrics = []prometheus.Collector{telemetry.NewHost(root)}
	if c.node.GPU.Engine == nil {
		return func() {}, nil
	}
	devices, err := c.node.GPU.Engine.Devices(ctx)
	if err != nil {
		return nil, err
	}
	var uuids []string
	for _, d := range devices {
		uuids = append(uuids, string(d.ID))
	}
	source, err := telemetry.Open(root, uuids)
	if err != nil {
		log.Warn("no metrics of GPUs", "error", err)
		return func() {}, nil
	}
	for _, g := range source.GPUs() {
		log.Info("GPU", "uuid", g.UUID, "name", g.Name, "driver", g.Driver,
			"pci", g.PCI, "pcie_generation", g.Generation, "pcie_lanes", g.Lanes)
	}
	collector := telemetry.NewCollector(source, log)
	c.node.Metrics = append(c.node.Metrics, collector)
	return collector.Close, nil
}

package telemetry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// NVML is the Source of machines with NVIDIA's management library.
type NVML struct {
	library nvml.Interface
	devices []device
}

// device is a GPU with what NVML calls it.
type device struct {
	GPU
	handle nvml.Device
}

// OpenNVML loads the library, by its usual name if path is "", and looks for GPUs of
// these UUIDs; nil: for all. ErrNone: there is no library, no driver or no such GPU; the error says
// which.
func OpenNVML(path string, uuids []string) (*NVML, error) {
	var options []nvml.LibraryOption
	if path != "" {
		options = append(options, nvml.WithLibraryPath(path))
	}
	return openNVML(nvml.New(options...), uuids)
}

func openNVML(library nvml.Interface, uuids []string) (*NVML, error) {
	if r := library.Init(); r != nvml.SUCCESS {
		return nil, fmt.Errorf("%w: NVML: %s", ErrNone, reason(r))
	}
	n := &NVML{library: library}
	if err := n.find(uuids); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// reason is a code in words; the library that has the words may be missing.
func reason(r nvml.Return) string {
	if r == nvml.ERROR_LIBRARY_NOT_FOUND {
		return "its library is not there"
	}
	return nvml.ErrorString(r)
}

func (n *NVML) find(uuids []string) error {
	count, r := n.library.DeviceGetCount()
	if r != nvml.SUCCESS {
		return fmt.Errorf("%w: NVML: %s", ErrNone, reason(r))
	}
	driver, _ := n.library.SystemGetDriverVersion() // "" if it is not told
	for i := range count {
		handle, r := n.library.DeviceGetHandleByIndex(i)
		if r != nvml.SUCCESS {
			continue // another's, or one that has fallen off the bus
		}
		d := device{handle: handle, GPU: GPU{Driver: driver}}
		if d.UUID, r = handle.GetUUID(); r != nvml.SUCCESS || uuids != nil && !slices.Contains(uuids, d.UUID) {
			continue
		}
		d.Name, _ = handle.GetName()
		d.Generation, _ = handle.GetMaxPcieLinkGeneration()
		d.Lanes, _ = handle.GetMaxPcieLinkWidth()
		if info, r := handle.GetPciInfo(); r == nvml.SUCCESS {
			d.PCI = busAddress(info)
		}
		n.devices = append(n.devices, d)
	}
	if len(n.devices) == 0 {
		return fmt.Errorf("%w: NVML counts %d, none of which is what is looked for: %q", ErrNone, count, uuids)
	}
	return nil
}

// busAddress is the address as lspci and sysfs write it, "0000:0f:00.0".
func busAddress(info nvml.PciInfo) string {
	return strings.ToLower(fmt.Sprintf("%04x:%02x:%02x.0", info.Domain, info.Bus, info.Device))
}

// GPUs implements Source.
func (n *NVML) GPUs() []GPU {
	list := make([]GPU, len(n.devices))
	for i, d := range n.devices {
		list[i] = d.GPU
	}
	return list
}

// Sample implements Source.
func (n *NVML) Sample() ([]Sample, error) {
	var list []Sample
	for _, d := range n.devices {
		if s, ok := d.sample(); ok {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("NVML: none of %d GPUs answers any more", len(n.devices))
	}
	return list, nil
}

// sample reads what the GPU tells; false if it tells not even its memory.
func (d device) sample() (Sample, bool) {
	s := unknown(d.UUID)
	var ok bool
	if s.MemoryTotal, s.MemoryUsed, ok = d.memory(); !ok {
		return s, false
	}
	if u, r := d.handle.GetUtilizationRates(); r == nvml.SUCCESS {
		s.Utilization = float64(u.Gpu) / 100
	}
	if mw, r := d.handle.GetPowerUsage(); r == nvml.SUCCESS {
		s.Power = float64(mw) / 1e3
	}
	if mw, r := d.handle.GetEnforcedPowerLimit(); r == nvml.SUCCESS {
		s.PowerLimit = float64(mw) / 1e3
	}
	if mj, r := d.handle.GetTotalEnergyConsumption(); r == nvml.SUCCESS {
		s.Energy = float64(mj) / 1e3
	}
	if degrees, r := d.handle.GetTemperature(nvml.TEMPERATURE_GPU); r == nvml.SUCCESS {
		s.Temperature = float64(degrees)
	}
	return s, true
}

// memory is what the GPU has and what is in use. Drivers before 510 count what they
// keep for themselves as used.
func (d device) memory() (total, used float64, ok bool) {
	if m, r := d.handle.GetMemoryInfo_v2(); r == nvml.SUCCESS {
		return float64(m.Total), float64(m.Used), true
	}
	m, r := d.handle.GetMemoryInfo()
	return float64(m.Total), float64(m.Used), r == nvml.SUCCESS
}

// Close implements Source.
func (n *NVML) Close() { n.library.Shutdown() }

package telemetry

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Jetson is the Source of boards whose GPU shares the processor's memory: Nano and
// TX2 (L4T 32), Xavier and Orin (L4T 34 and later). They differ in where files are,
// not in what they hold.
type Jetson struct {
	root  string
	gpu   GPU
	load  string // file with the load in thousandths
	power *rail
	heat  string // file with thousandths of a degree, "" if nothing measures it
}

// rail is one line of a board's power monitor (INA3221): a file with milliwatts,
// or two with millivolts and milliamperes.
type rail struct{ milliwatts, millivolts, milliamperes string }

// gpuNames are what device trees call the GPU.
var gpuNames = map[string]bool{"gpu": true, "gp10b": true, "gv11b": true, "ga10b": true}

// OpenJetson reads the files of a board below root. Such a board has one GPU and no
// UUID of it in a file; uuids is what CUDA says, of that one. ErrNone: it is no such
// board.
func OpenJetson(root string, uuids []string) (*Jetson, error) {
	if len(uuids) != 1 {
		return nil, fmt.Errorf("%w: a board has one GPU, not %d", ErrNone, len(uuids))
	}
	j := &Jetson{root: root, gpu: GPU{UUID: uuids[0]}}
	for _, name := range j.glob("sys/class/devfreq/*/device/of_node/name") {
		if gpuNames[text(name)] {
			j.load = filepath.Join(filepath.Dir(filepath.Dir(name)), "load")
			break
		}
	}
	if j.load == "" {
		return nil, fmt.Errorf("%w: no GPU in %s", ErrNone, filepath.Join(root, "sys/class/devfreq"))
	}
	j.gpu.Name = text(filepath.Join(root, "proc/device-tree/model"))
	// "# R32 (release), REVISION: 7.1, …"
	if fields := strings.Fields(text(filepath.Join(root, "etc/nv_tegra_release"))); len(fields) > 4 {
		j.gpu.Driver = "L4T " + fields[1] + "." + strings.TrimSuffix(fields[4], ",")
	}
	j.power, j.heat = j.gpuRail(), j.gpuZone()
	return j, nil
}

// gpuZone finds the sensor in the GPU: "GPU-therm" up to L4T 35, then "gpu-thermal".
func (j *Jetson) gpuZone() string {
	for _, name := range j.glob("sys/class/thermal/thermal_zone*/type") {
		if strings.HasPrefix(strings.ToLower(text(name)), "gpu-therm") {
			return filepath.Join(filepath.Dir(name), "temp")
		}
	}
	return ""
}

// glob lists files below root; the patterns are ours and well-formed.
func (j *Jetson) glob(pattern string) []string {
	files, _ := filepath.Glob(filepath.Join(j.root, pattern))
	return files
}

// gpuRail finds the line that feeds the GPU, nil if the board measures none.
func (j *Jetson) gpuRail() *rail {
	for _, name := range j.glob("sys/bus/i2c/devices/*/iio:device*/rail_name_*") { // L4T 32
		if strings.Contains(text(name), "GPU") {
			dir, n := filepath.Dir(name), strings.TrimPrefix(filepath.Base(name), "rail_name_")
			return &rail{milliwatts: filepath.Join(dir, "in_power"+n+"_input")}
		}
	}
	for _, name := range j.glob("sys/bus/i2c/devices/*/hwmon/hwmon*/in*_label") {
		if strings.Contains(text(name), "GPU") {
			dir, n := filepath.Dir(name), strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "in"), "_label")
			return &rail{millivolts: filepath.Join(dir, "in"+n+"_input"), milliamperes: filepath.Join(dir, "curr"+n+"_input")}
		}
	}
	return nil
}

// watts is what flows now.
func (r *rail) watts() (float64, bool) {
	if r.milliwatts != "" {
		mw, ok := number(r.milliwatts)
		return mw / 1e3, ok
	}
	mv, okV := number(r.millivolts)
	ma, okA := number(r.milliamperes)
	return mv * ma / 1e6, okV && okA
}

// GPUs implements Source.
func (j *Jetson) GPUs() []GPU { return []GPU{j.gpu} }

// Sample implements Source.
func (j *Jetson) Sample() ([]Sample, error) {
	load, ok := number(j.load)
	if !ok {
		return nil, fmt.Errorf("%s: not a number", j.load)
	}
	s := unknown(j.gpu.UUID)
	s.Utilization = load / 1000
	if total, used, ok := memory(j.root); ok {
		s.MemoryTotal, s.MemoryUsed = total, used
	}
	if j.power != nil {
		if w, ok := j.power.watts(); ok {
			s.Power = w
		}
	}
	if thousandths, ok := number(j.heat); ok {
		s.Temperature = thousandths / 1e3
	}
	return []Sample{s}, nil
}

// Close implements Source.
func (j *Jetson) Close() {}

// text is what a file of the kernel says, "" if it cannot be read; strings of the
// device tree end with a zero byte.
func text(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimRight(string(b), "\x00\n ")
}

func number(path string) (float64, bool) {
	n, err := strconv.ParseFloat(text(path), 64)
	return n, err == nil
}

package native

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine/enginetest"
)

// TestConformanceOnGPU wants GPUSHIM_LIB, a libgpushim.so, and GPUSHIM_PLANS, a
// folder of plans for its version and this GPU: dynamic.plan with a dynamic first
// dimension of up to eight, and at least three more with weights of 2 MiB or more.
func TestConformanceOnGPU(t *testing.T) {
	library, folder := os.Getenv("GPUSHIM_LIB"), os.Getenv("GPUSHIM_PLANS")
	if library == "" || folder == "" {
		t.Skip("GPUSHIM_LIB and GPUSHIM_PLANS are not set: there is no GPU to test on")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.plan"))
	if err != nil {
		t.Fatal(err)
	}
	var fixtures enginetest.Fixtures
	for _, path := range paths {
		m := engine.Model{Name: filepath.Base(path), Path: path, Format: engine.FormatPlan}
		if m.Name == "dynamic.plan" {
			fixtures.Dynamic = m
		} else {
			fixtures.Models = append(fixtures.Models, m)
		}
	}
	fixtures.Huge = &enginetest.HugeModel{Model: fixtures.Dynamic, Input: func(huge bool) []tensor.Tensor {
		rows := int64(1)
		if huge {
			rows = 100_000
		}
		return []tensor.Tensor{{Name: "input", Datatype: tensor.FP32, Shape: []int64{rows, 4}, Data: make([]byte, rows*16)}}
	}}
	for name, noRemap := range map[string]bool{"remapped": false, "deserialized": true} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) (engine.Engine, enginetest.Fixtures) {
				e, err := New(Options{Library: library, NoRemap: noRemap, Settings: os.Getenv("GPUSHIM_SETTINGS")})
				if err != nil {
					t.Fatal(err)
				}
				f := fixtures
				f.Device = e.devices[0].id
				f.Held = func() int64 { return held(t, e) }
				return e, f
			})
		})
	}
	t.Run("random order", func(t *testing.T) { testRandomOrder(t, library, fixtures.Models, 500) })
}

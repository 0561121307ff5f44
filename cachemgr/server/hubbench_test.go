package server

import (
	"fmt"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// BenchmarkRefresh takes in a change of one model of many, as requests bring one
// every few milliseconds.
func BenchmarkRefresh(b *testing.B) {
	for _, models := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(models), func(b *testing.B) {
			m := newFakeManager()
			h, names := newTestHub(m)
			resident := []api.InstanceStatus{{Device: "cpu", State: api.StateResident}}
			state := func(uses int) cachemgr.ModelState {
				return cachemgr.ModelState{Staged: true, Instances: resident, Stats: api.CacheStats{Hits: int64(uses)}}
			}
			digest := func(i int) string { return fmt.Sprintf("sha256:%064d", i) }
			for i := range models {
				ref := api.FunctionRef{Namespace: "ns", Name: fmt.Sprint("f", i)}
				names[ref] = []api.Offer{{Name: "m", Version: "1", Digest: digest(i)}}
				if refused := h.catalog.follow(ref); refused != nil {
					b.Fatal(refused)
				}
				m.status.Models[digest(i)] = state(0)
			}
			h.now()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.status.Models[digest(i%models)] = state(i + 1)
				m.status.Generation++
				h.now()
			}
		})
	}
}

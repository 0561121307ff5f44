package variant

import (
	"testing"
	"testing/synctest"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

func TestStatusIsMerged(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("m", terms4)
		r.let(nil)
		if err := r.cpu.Load(r.Context(), "m", ""); err != nil {
			r.Fatal(err)
		}
		if err := r.Add(cachemgr.Model{Digest: "p", Format: engine.FormatPlan}); err != nil {
			r.Fatal(err)
		}
		st := r.Status()
		if len(st.Devices) != 2 || st.Devices[0].ID != "gpu" || st.Host != (api.PoolStatus{Budget: 200, Used: 20}) || len(st.Models) != 2 {
			r.Errorf("%+v", st)
		}
		m := st.Models["m"]
		if len(m.Instances) != 2 || !m.Staged || m.Bytes != 3 || m.Stats.Hits != 2 || m.Stats.LastUsed != "gpu" {
			r.Errorf("%+v", m)
		}
		if again := r.Status(); again.Generation != st.Generation {
			r.Errorf("generation %d became %d", st.Generation, again.Generation)
		}
	})
}

// Whatever changes, the generation grows and those who watch are told.
func TestChanges(t *testing.T) {
	inBubble(t, func(r *rig) {
		generation := r.Status().Generation
		for name, change := range map[string]func(){
			"CPU":  func() { r.cpu.setFail(nil) },
			"GPU":  func() { r.gpu.setFail(nil) },
			"plan": func() { r.add("m", terms4) },
		} {
			first, second := r.Changed(generation), r.Changed(generation)
			synctest.Wait()
			select {
			case <-first:
				r.Errorf("%s: told before", name)
			default:
			}
			change()
			<-first
			<-second
			next := r.Status().Generation
			if next <= generation {
				r.Errorf("%s: generation %d after %d", name, next, generation)
			}
			<-r.Changed(generation) // at once
			generation = next
			synctest.Wait()
			generation = r.Status().Generation
		}
		_ = r.Changed(generation) // somebody waits at the end
	})
}

// Of several plans on one device the best is shown.
func TestBestInstanceIsShown(t *testing.T) {
	list := withInstance(nil, api.InstanceStatus{Device: "a", State: api.StateBuilding})
	list = withInstance(list, api.InstanceStatus{Device: "b", State: api.StateFailed})
	list = withInstance(list, api.InstanceStatus{Device: "a", State: api.StateResident})
	list = withInstance(list, api.InstanceStatus{Device: "a", State: api.StateParked})
	if len(list) != 2 || list[0].State != api.StateResident || list[1].State != api.StateFailed {
		t.Errorf("%+v", list)
	}
}

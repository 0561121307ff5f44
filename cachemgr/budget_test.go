package cachemgr

import (
	"errors"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// limitedEngine keeps a tenth of its limit for itself.
type limitedEngine struct {
	*testengine.Engine
	limits map[engine.DeviceID]int64
	err    error
}

func (e *limitedEngine) Limit(d engine.DeviceID, bytes int64) error {
	e.limits[d] = bytes
	for i := range e.List {
		if e.List[i].ID == d {
			e.List[i].Overhead = bytes / 10
		}
	}
	return e.err
}

// TestEngineIsHeldToTheBudget: to what is resolved of each device, be it set or not,
// and what it keeps for itself then is counted.
func TestEngineIsHeldToTheBudget(t *testing.T) {
	for _, c := range []struct {
		name   string
		budget func(engine.Device) int64
		want   map[engine.DeviceID]int64
	}{
		{"default", nil, map[engine.DeviceID]int64{"one": 900, "two": 1800}},
		{"set", func(engine.Device) int64 { return 500 }, map[engine.DeviceID]int64{"one": 500, "two": 500}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &limitedEngine{Engine: testengine.New(t.Errorf), limits: map[engine.DeviceID]int64{}}
			e.List = []engine.Device{{ID: "one", TotalBytes: 1000}, {ID: "two", TotalBytes: 2000}}
			m, err := New(Config{Engine: e, HostBudget: 1, DeviceBudget: c.budget})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range m.Status().Devices {
				id := engine.DeviceID(d.ID)
				if want := c.want[id]; e.limits[id] != want || d.Budget != want || d.Overhead != want/10 {
					t.Errorf("%s: limit %d, budget %d, overhead %d, want %d", id, e.limits[id], d.Budget, d.Overhead, want)
				}
			}
			if err := m.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	e := &limitedEngine{Engine: testengine.New(t.Errorf), limits: map[engine.DeviceID]int64{}, err: engine.ErrDeviceLost}
	if _, err := New(Config{Engine: e, HostBudget: 1}); !errors.Is(err, engine.ErrDeviceLost) {
		t.Errorf("got %v", err)
	}
}

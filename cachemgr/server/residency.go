package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

var modelsDesc = desc("faas_gpu_models", "Models on the device by their state; those that are not there do not count.", "device", "state")

// deviceStates are those that a model on a device can have.
var deviceStates = []api.State{
	api.StateBuilding, api.StateLoading, api.StateResident, api.StateDraining, api.StateParked, api.StateFailed,
}

// collectResidency counts the models on each device by their state.
func collectResidency(st cachemgr.Status, send func(*prometheus.Desc, prometheus.ValueType, float64, ...string)) {
	type place struct {
		device string
		state  api.State
	}
	models := make(map[place]int)
	for _, m := range st.Models {
		for _, i := range m.Instances {
			models[place{i.Device, i.State}]++
		}
	}
	for _, d := range st.Devices {
		for _, state := range deviceStates {
			send(modelsDesc, prometheus.GaugeValue, float64(models[place{d.ID, state}]), d.ID, string(state))
		}
	}
}

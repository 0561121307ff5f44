package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/faas-gpu/faas-gpu/cachemgr"
)

// perWork are what waits for a device, and what it did.
var perWork = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(cachemgr.Work) float64
}{
	{desc("faas_gpu_queued_for_model_requests", "Requests that wait for their model.", deviceLabels...), prometheus.GaugeValue,
		func(w cachemgr.Work) float64 { return float64(w.ForModel) }},
	{desc("faas_gpu_queued_for_turn_requests", "Requests whose model is resident, and that wait to compute.", deviceLabels...), prometheus.GaugeValue,
		func(w cachemgr.Work) float64 { return float64(w.ForTurn) }},
	{desc("faas_gpu_swap_transfers", "Models on their way to the device, without first loads.", deviceLabels...), prometheus.GaugeValue,
		func(w cachemgr.Work) float64 { return float64(w.Transfers) }},
	{desc("faas_gpu_swap_stall_seconds_total", "Time in which the device computed nothing while requests waited for their model.", deviceLabels...), prometheus.CounterValue,
		func(w cachemgr.Work) float64 { return w.Stalled.Seconds() }},
	{desc("faas_gpu_swap_heavy_total", "Loads of models whose computing does not hide a swap.", deviceLabels...), prometheus.CounterValue,
		func(w cachemgr.Work) float64 { return float64(w.Heavy) }},
	{desc("faas_gpu_swap_light_total", "Loads of models whose computing hides a swap, or of which that is not known yet.", deviceLabels...), prometheus.CounterValue,
		func(w cachemgr.Work) float64 { return float64(w.Light) }},
	{desc("faas_gpu_prefetch_total", "Models loaded because a request was expected.", deviceLabels...), prometheus.CounterValue,
		func(w cachemgr.Work) float64 { return float64(w.Prefetched) }},
	{desc("faas_gpu_prefetch_useful_total", "Of those, models that were used before they left.", deviceLabels...), prometheus.CounterValue,
		func(w cachemgr.Work) float64 { return float64(w.Useful) }},
	{desc("faas_gpu_prefetch_wasted_total", "Of those, models that left unused.", deviceLabels...), prometheus.CounterValue,
		func(w cachemgr.Work) float64 { return float64(w.Wasted) }},
}

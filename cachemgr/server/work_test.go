package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// TestMetricsOfWork: what devices do, runs that requests share, and who was in time:
// every request that has an objective counts, whatever became of it.
func TestMetricsOfWork(t *testing.T) {
	m := newFakeManager()
	s, h := newServer(t, m, Limits{})
	var asked []cachemgr.Request
	answer := func(result cachemgr.Result, err error) {
		m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
			asked = append(asked, r)
			done, _ := double(ctx, r)
			done.Batch, done.Lead = result.Batch, result.Lead
			return done, err
		}
	}
	infer := func(slo string) {
		send(t, "POST", h.URL+"/v2/models/twice/infer", four, api.HeaderSLO, slo)
	}
	answer(cachemgr.Result{Batch: 2, Lead: true}, nil)
	infer("1m")
	answer(cachemgr.Result{Batch: 2}, nil)
	infer("1m") // of the same run
	infer("1ns")
	infer("0s") // no objective
	answer(cachemgr.Result{}, engine.ErrNoMemory)
	infer("1m")
	m.change(func(map[string]cachemgr.ModelState) {
		m.status.Work = []cachemgr.Work{{
			Device: "cpu", ForModel: 1, ForTurn: 2, Transfers: 3, Stalled: 4500 * time.Millisecond,
			Heavy: 5, Light: 6, Prefetched: 7, Useful: 8, Wasted: 9,
		}}
	})
	text := scrape(t, s)
	const labels = `{function="",model="twice",namespace="",version="1"}`
	for _, want := range []string{
		"nv_inference_request_success" + labels + " 4",
		"nv_inference_exec_count" + labels + " 1",
		"faas_gpu_slo_inferences_total" + labels + " 4",
		"faas_gpu_slo_attained_total" + labels + " 2",
		`faas_gpu_queued_for_model_requests{device="cpu"} 1`,
		`faas_gpu_queued_for_turn_requests{device="cpu"} 2`,
		`faas_gpu_swap_transfers{device="cpu"} 3`,
		`faas_gpu_swap_stall_seconds_total{device="cpu"} 4.5`,
		`faas_gpu_swap_heavy_total{device="cpu"} 5`,
		`faas_gpu_swap_light_total{device="cpu"} 6`,
		`faas_gpu_prefetch_total{device="cpu"} 7`,
		`faas_gpu_prefetch_useful_total{device="cpu"} 8`,
		`faas_gpu_prefetch_wasted_total{device="cpu"} 9`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is missing", want)
		}
	}
	if len(asked) != 5 || asked[0].SLO != time.Minute || asked[3].SLO != 0 {
		t.Errorf("the manager was asked %+v", asked)
	}
}

package cachemgr

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// idleEngine computes nothing, so that what is measured is the manager.
type idleEngine struct{}

func (idleEngine) Name() string { return "idle" }
func (idleEngine) Devices(context.Context) ([]engine.Device, error) {
	return []engine.Device{{ID: "cpu", TotalBytes: 1 << 40, FreeBytes: 1 << 40}}, nil
}
func (idleEngine) Open(context.Context, engine.Model) (engine.Staged, error) { return idleModel{}, nil }
func (idleEngine) Close() error                                              { return nil }

type idleModel struct{}

func (idleModel) Spec() engine.Spec { return engine.Spec{Known: true, Concurrency: 64} }
func (idleModel) Cost(engine.DeviceID) engine.Cost {
	return engine.Cost{Peak: 100, Resident: 100, Host: 100}
}
func (idleModel) Load(context.Context, engine.DeviceID) (engine.Instance, error) {
	return idleInstance{}, nil
}
func (idleModel) Close() error { return nil }

type idleInstance struct{}

func (idleInstance) Run(context.Context, []tensor.Tensor, []tensor.Tensor) error { return nil }
func (idleInstance) Close() error                                                { return nil }

func benchManager(b *testing.B, models, concurrency int, budget int64) (*Manager, []string) {
	m, err := New(Config{
		Engine: idleEngine{}, HostBudget: 1 << 40, Concurrency: concurrency,
		DeviceBudget: func(engine.Device) int64 { return budget },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	var digests []string
	for i := range models {
		digest := fmt.Sprintf("sha256:%064x", i)
		digests = append(digests, digest)
		if err := m.Add(Model{Digest: digest, Path: "p", Size: 100}); err != nil {
			b.Fatal(err)
		}
		if err := m.Load(b.Context(), digest, ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return m, digests
}

// request is what the server does for one inference: the spec, then the run.
func request(b *testing.B, m *Manager, digest string) {
	if _, err := m.Spec(b.Context(), digest); err != nil {
		b.Error(err)
	}
	if _, err := m.Infer(b.Context(), Request{Digest: digest, Function: "resnet.openfaas-fn", SLO: time.Minute}); err != nil {
		b.Error(err)
	}
}

func BenchmarkHit1kModels(b *testing.B) {
	m, digests := benchManager(b, 1000, 1, 1<<40)
	for i := 0; b.Loop(); i++ {
		request(b, m, digests[i%len(digests)])
	}
}

// BenchmarkHitParallel1kModels has many clients and room for all of them.
func BenchmarkHitParallel1kModels(b *testing.B) {
	m, digests := benchManager(b, 1000, 64, 1<<40)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			request(b, m, digests[i%len(digests)])
		}
	})
}

// BenchmarkHitQueued1kModels has many clients and one turn at a time.
func BenchmarkHitQueued1kModels(b *testing.B) {
	m, digests := benchManager(b, 1000, 1, 1<<40)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			request(b, m, digests[i%len(digests)])
		}
	})
}

// BenchmarkSwap1kModels evicts and loads for each request.
func BenchmarkSwap1kModels(b *testing.B) {
	m, digests := benchManager(b, 1000, 1, 500*100)
	for i := 0; b.Loop(); i++ {
		request(b, m, digests[i%len(digests)])
	}
}

// BenchmarkSwapParallel1kModels has 16 clients, each with models of its own, and room
// for three models: every request is a miss.
func BenchmarkSwapParallel1kModels(b *testing.B) {
	const clients = 16
	m, digests := benchManager(b, 1000, 1, 3*100)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range b.N / clients {
				request(b, m, digests[(i*clients+c)%(len(digests)/clients*clients)])
			}
		})
	}
	wg.Wait()
}

// BenchmarkStatus1kModels is one request and the snapshot after it.
func BenchmarkStatus1kModels(b *testing.B) {
	m, digests := benchManager(b, 1000, 1, 1<<40)
	m.Status()
	for i := 0; b.Loop(); i++ {
		request(b, m, digests[i%len(digests)])
		m.Status()
	}
}

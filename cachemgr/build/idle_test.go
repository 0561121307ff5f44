package build

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"log/slog"
)

func TestAwaitIdle(t *testing.T) {
	for name, tt := range map[string]struct {
		use  func(*quietGPU)
		want time.Duration // at least, and at most a look later
	}{
		"idle":           {func(*quietGPU) {}, 2 * time.Second},
		"busy for a bit": {func(g *quietGPU) { g.set(true); time.Sleep(5 * time.Second); g.set(false) }, 7 * time.Second},
		"short requests": {func(g *quietGPU) {
			for range 10 {
				time.Sleep(time.Second)
				g.set(false) // between two looks
			}
		}, 12 * time.Second},
		"never idle": {func(g *quietGPU) { g.set(true) }, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &quietGPU{}
				b := &Builder{cfg: Config{GPU: g, Idle: 2 * time.Second, Patience: time.Minute, Log: slog.New(slog.DiscardHandler)}}
				go tt.use(g)
				synctest.Wait()
				began := time.Now()
				if err := b.awaitIdle(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < tt.want || took > tt.want+time.Second {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
			})
		})
	}
}

func TestAwaitIdleIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &quietGPU{busy: true}
		b := &Builder{cfg: Config{GPU: g, Idle: time.Second, Patience: time.Hour}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.awaitIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// set says that a request came or went.
func (g *quietGPU) set(busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = busy
	g.stamp++
}

package cachemgr

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
)

// pinning is a test engine that says that it reads shared memory once.
type pinning struct{ *testengine.Engine }

func (pinning) Pin([]byte) (func(), error) { return func() {}, nil }

// What another process does to shared memory during a run reaches only an engine
// that says that it does no harm there.
func TestSharedMemoryThatChangesDuringARun(t *testing.T) {
	for name, direct := range map[string]bool{"copied": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.add("a", 10)
				if _, err := r.infer(context.Background(), "a"); err != nil {
					t.Fatal(err)
				}
				running := r.hold(testengine.Run, "a")
				in, out := testTensors()
				first := bytes.Clone(in[0].Data)
				later := bytes.Repeat([]byte{7}, len(first))
				seen := later // by the engine
				if !direct {
					seen = first
				}
				done := make(chan error)
				go func() {
					_, err := r.m.Infer(context.Background(), Request{Digest: "a", In: in, Out: out, Shared: true})
					done <- err
				}()
				synctest.Wait()
				copy(in[0].Data, later)
				close(running)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(out[0].Data, testengine.Expect("a", seen)) {
					t.Error("the engine has seen other bytes")
				}
			}, func(c *Config, e *testengine.Engine) {
				if direct {
					c.Engine = pinning{e}
				}
			})
		})
	}
}

// Outputs of which only the engine knows the size come from there.
func TestSharedRequestWithAnAllocatedOutput(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 10)
		in, _ := testTensors()
		out := []tensor.Tensor{{Name: "y", Datatype: tensor.Uint8}}
		if _, err := r.m.Infer(context.Background(), Request{Digest: "a", In: in, Out: out, Shared: true}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out[0].Data, testengine.Expect("a", in[0].Data)) || len(out[0].Shape) != 2 {
			t.Errorf("output is %v", out[0])
		}
	})
}

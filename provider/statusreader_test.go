package provider

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// heard is a StatusReader that writes down what it is told.
type heard struct {
	mu    sync.Mutex
	nodes []string // NODE@GENERATION, or the address of one that was lost
}

func (h *heard) Heard(_ string, s api.NodeStatus) { h.note(fmt.Sprintf("%s@%d", s.Node, s.Generation)) }
func (h *heard) Lost(address string)              { h.note(address) }

func (h *heard) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nodes = append(h.nodes, what)
}

func TestNodesPassOnWhatTheyHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rt, h := &fakeNode{messages: make(chan api.NodeStatus)}, newFakeRuntime(), &heard{}
		nodes := NewNodes(map[string]NodeClient{"/run/oip.sock": n}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { nodes.Run(ctx, rt, h) })
		n.messages <- api.NodeStatus{} // breaks off before anything was heard
		time.Sleep(time.Minute)
		n.messages <- api.NodeStatus{Generation: 1, Full: true, Node: "n"}
		n.messages <- api.NodeStatus{Generation: 2, Node: "n"}
		n.messages <- api.NodeStatus{} // breaks off
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"n@1", "n@2", "/run/oip.sock"}; !slices.Equal(h.nodes, want) {
			t.Errorf("heard %v, want %v", h.nodes, want)
		}
		for _, address := range []string{"/run/oip.sock", "/elsewhere"} {
			nodes.Prefetch(address, api.PrefetchRequest{Digest: "sha", Device: "gpu"})
		}
		synctest.Wait()
		if len(n.prefetched) != 1 || n.prefetched[0].Digest != "sha" || n.prefetched[0].Device != "gpu" {
			t.Errorf("asked for %+v", n.prefetched)
		}
		cancel()
		running.Wait()
		for range 2 * mostPrefetches { // nobody sends them, nobody waits
			nodes.Prefetch("/run/oip.sock", api.PrefetchRequest{})
		}
	})
}

// TestNodesOfOneName: who gives two nodes one name is told.
func TestNodesOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeNode{messages: make(chan api.NodeStatus)}, &fakeNode{messages: make(chan api.NodeStatus)}
		var log bytes.Buffer
		nodes := NewNodes(map[string]NodeClient{"/a": a, "/b": b}, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { nodes.Run(ctx, newFakeRuntime(), &heard{}) })
		a.messages <- api.NodeStatus{Full: true, Node: "n"}
		synctest.Wait()
		if strings.Contains(log.String(), "WARN") {
			t.Errorf("one node alone: %s", &log)
		}
		b.messages <- api.NodeStatus{Full: true, Node: "n"}
		synctest.Wait()
		if !strings.Contains(log.String(), "node_address=/b node=n other_address=/a") {
			t.Errorf("got %s", &log)
		}
		cancel()
		running.Wait()
	})
}

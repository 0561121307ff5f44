package server

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// coalesce is how long a change waits for those that follow it before those who
// watch are told. So the beginning and the end of a short request are one message,
// and none is made while it is answered.
const coalesce = 5 * time.Millisecond

// kept is how many messages a watcher may lag before it gets a full snapshot
// instead of those it missed.
const kept = 64

// hub turns the node's state into numbered messages, each made once for all
// watchers. It has no goroutine: the watchers themselves drive it.
type hub struct {
	node, epoch string
	observer    Observer
	catalog     *catalog

	mu         sync.Mutex
	generation uint64
	shown      snapshot          // as of generation
	deltas     [kept][]byte      // by generation modulo kept; leads to that generation
	built      time.Time         // when shown was made
	seen       position          // what shown was made from
	known      map[string]naming // by digest, as of seen
}

// position says which states of the hub's two sources were seen.
type position struct {
	manager, catalog uint64
	// named is closed when the catalog has changed since.
	named <-chan struct{}
}

func newHub(node, epoch string, o Observer, c *catalog) *hub {
	return &hub{node: node, epoch: epoch, observer: o, catalog: c}
}

// refresh takes in what has changed. The caller holds mu.
func (h *hub) refresh() {
	version, named := h.catalog.position()
	st := h.observer.Status()
	h.built = time.Now()
	if h.generation > 0 && st.Generation == h.seen.manager && version == h.seen.catalog {
		return
	}
	if h.known == nil || version != h.seen.catalog {
		h.known = namings(h.catalog.all())
	}
	h.seen = position{manager: st.Generation, catalog: version, named: named}
	next := newSnapshot(st, h.known, h.shown)
	delta, changed := next.delta(h.shown)
	if h.generation > 0 && !changed {
		return
	}
	h.generation++
	h.shown = next
	h.deltas[h.generation%kept] = h.encode(delta)
}

// encode makes a line of a message of the present generation.
func (h *hub) encode(n api.NodeStatus) []byte {
	n.Generation, n.Epoch, n.Node = h.generation, h.epoch, h.node
	line, err := json.Marshal(n)
	if err != nil { // it holds numbers and strings only
		panic(fmt.Sprintf("a node status cannot be encoded: %v", err))
	}
	return append(line, '\n')
}

// now is the state right now.
func (h *hub) now() snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.shown
}

// message is the state right now as one full message.
func (h *hub) message() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.encode(h.shown.full())
}

// since returns the messages after generation sent, and where they lead. It
// looks for changes if the last look was long enough ago.
func (h *hub) since(sent uint64) (lines [][]byte, generation uint64, seen position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.generation == 0 || time.Since(h.built) >= coalesce {
		h.refresh()
	}
	if sent == 0 || h.generation-sent >= kept {
		lines = append(lines, h.encode(h.shown.full()))
	} else {
		for g := sent + 1; g <= h.generation; g++ {
			lines = append(lines, h.deltas[g%kept])
		}
	}
	return lines, h.generation, h.seen
}

// watch sends a full snapshot and then every change, until ctx ends or send
// fails.
func (h *hub) watch(ctx context.Context, send func(line []byte) error) error {
	var sent uint64
	pause := time.NewTimer(coalesce)
	defer pause.Stop()
	for {
		lines, generation, seen := h.since(sent)
		for _, line := range lines {
			if err := send(line); err != nil {
				return err
			}
		}
		sent = generation
		select {
		case <-h.observer.Changed(seen.manager):
		case <-seen.named:
		case <-ctx.Done():
			return ctx.Err()
		}
		pause.Reset(coalesce)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package provider

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// NodeClient is what is needed of a cache manager's client.
type NodeClient interface {
	// WatchStatus calls f with each message of the status stream until it ends.
	WatchStatus(ctx context.Context, f func(api.NodeStatus)) error
	PutReferences(ctx context.Context, r api.References) error
	// Prefetch asks for a model to be brought to a device, and does not wait.
	Prefetch(ctx context.Context, p api.PrefetchRequest) error
}

// StatusReader is told what nodes report, one message after the other.
type StatusReader interface {
	Heard(address string, s api.NodeStatus)
	// Lost is called when a node that was heard of can no longer be reached.
	Lost(address string)
}

// Nodes watches cache managers and tells them which functions exist.
type Nodes struct {
	nodes []*node // in the order given
	log   *slog.Logger
}

// node is one cache manager.
type node struct {
	address   string
	client    NodeClient
	log       *slog.Logger
	view      atomic.Pointer[NodeView]
	connected chan struct{} // tells that a status stream has begun
	prefetch  chan api.PrefetchRequest
	// generation of the references sent last.
	generation uint64
}

// NewNodes makes Nodes of clients by their address. Run starts them.
func NewNodes(clients map[string]NodeClient, log *slog.Logger) *Nodes {
	ns := &Nodes{log: log}
	for address, client := range clients {
		n := &node{address: address, client: client, log: log.With("node_address", address), connected: make(chan struct{}, 1), prefetch: make(chan api.PrefetchRequest, mostPrefetches)}
		n.view.Store(newNodeView(address))
		ns.nodes = append(ns.nodes, n)
	}
	slices.SortFunc(ns.nodes, func(a, b *node) int { return cmp.Compare(a.address, b.address) })
	return ns
}

// Views are the nodes as they are now; nothing they point to ever changes.
func (ns *Nodes) Views() []NodeView {
	views := make([]NodeView, len(ns.nodes))
	for i, n := range ns.nodes {
		views[i] = *n.view.Load()
	}
	return views
}

// mostPrefetches is how many may wait to be sent to a node; more than that would
// come too late to be of use.
const mostPrefetches = 64

// prefetchTimeout is how long a node may take to note a prefetch down.
const prefetchTimeout = 5 * time.Second

// Prefetch has the node at an address asked to bring a model to a device. It does
// not wait, and it may not happen: the request that it is for brings the model,
// too, a little later.
func (ns *Nodes) Prefetch(address string, p api.PrefetchRequest) {
	at, found := slices.BinarySearchFunc(ns.nodes, address, func(n *node, a string) int { return cmp.Compare(n.address, a) })
	if !found {
		return
	}
	select {
	case ns.nodes[at].prefetch <- p:
	default:
	}
}

// Run watches until ctx ends, and tells reader what the nodes report.
func (ns *Nodes) Run(ctx context.Context, functions runtime.Observer, reader StatusReader) {
	var running sync.WaitGroup
	for _, n := range ns.nodes {
		running.Go(func() { ns.watch(ctx, n, reader) })
		running.Go(func() { n.sendPrefetches(ctx) })
		running.Go(func() { n.refer(ctx, functions) })
	}
	running.Wait()
}

// Pauses between tries to reach a node.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// watch follows the node's status, connecting again when it is cut off.
func (ns *Nodes) watch(ctx context.Context, n *node, reader StatusReader) {
	pause := firstPause
	for ctx.Err() == nil {
		fresh := true
		err := n.client.WatchStatus(ctx, func(s api.NodeStatus) {
			n.view.Store(n.view.Load().apply(s))
			reader.Heard(n.address, s)
			if fresh {
				fresh, pause = false, firstPause
				n.log.Info("cache manager connected", "node", s.Node, "epoch", s.Epoch)
				ns.warnOfNamesakes(n, s.Node)
				select {
				case n.connected <- struct{}{}:
				default: // it has been told already
				}
			}
		})
		if ctx.Err() != nil {
			return
		}
		lost := *n.view.Load()
		if lost.Connected || fresh && lost.Problem != err.Error() {
			n.log.Warn("cache manager not connected", "error", err)
		}
		lost.Connected, lost.Problem = false, err.Error()
		n.view.Store(&lost)
		if !fresh {
			reader.Lost(n.address)
		}
		sleep(ctx, pause)
		pause = min(2*pause, lastPause)
	}
}

// warnOfNamesakes says that no replica can be told to be on n.
func (ns *Nodes) warnOfNamesakes(n *node, name string) {
	for _, other := range ns.nodes {
		if v := other.view.Load(); other != n && v.Connected && v.Node == name {
			n.log.Warn("two cache managers have one node name: devices of only one of them are used; give each the name of its machine with node_name",
				"node", name, "other_address", other.address)
		}
	}
}

func (n *node) sendPrefetches(ctx context.Context) {
	for {
		select {
		case p := <-n.prefetch:
			sending, cancel := context.WithTimeout(ctx, prefetchTimeout)
			if err := n.client.Prefetch(sending, p); err != nil && ctx.Err() == nil {
				n.log.Debug("model not fetched ahead", "digest", p.Digest, "device", p.Device, "error", err)
			}
			cancel()
		case <-ctx.Done():
			return
		}
	}
}

// refer tells the node which functions exist: when it has connected, and
// whenever the set has changed.
func (n *node) refer(ctx context.Context, functions runtime.Observer) {
	var sent []api.FunctionRef
	told, pause := false, firstPause
	for {
		at := time.Now() // before the snapshot is read, see api.References
		s := functions.Snapshot()
		refs := references(s)
		var retry <-chan time.Time
		if n.view.Load().Connected && !(told && slices.Equal(refs, sent)) {
			if err := n.put(ctx, at, refs); err != nil && ctx.Err() == nil {
				n.log.Warn("cache manager not told which functions exist", "error", err)
				retry = time.After(pause)
				pause = min(2*pause, lastPause)
			} else {
				sent, told, pause = refs, true, firstPause
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-functions.Changed(s):
		case <-n.connected:
			told = false // perhaps another run of it, that knows nothing
		case <-retry:
		}
	}
}

func (n *node) put(ctx context.Context, at time.Time, refs []api.FunctionRef) error {
	// Taken from the clock, it grows over restarts of the provider as well.
	n.generation = max(n.generation+1, uint64(at.UnixNano()))
	return n.client.PutReferences(ctx, api.References{Generation: n.generation, At: at, Functions: refs})
}

// references lists the functions of a snapshot in a fixed order, with all of
// their revisions: one that is being replaced needs its models to its end.
func references(s *runtime.Snapshot) []api.FunctionRef {
	refs := make([]api.FunctionRef, 0, len(s.Functions))
	for id, f := range s.Functions {
		refs = append(refs, dispatch.Revisions(id, f)...)
	}
	slices.SortFunc(refs, func(a, b api.FunctionRef) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return refs
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

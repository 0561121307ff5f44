package cachemgr

import (
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/arrival"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// phase of a model in host memory.
//
//	onDisk -> opening -> staged -> unstaging -> onDisk
type phase int

const (
	onDisk phase = iota
	opening
	staged
	unstaging
)

// model is a file that the manager knows, and what became of it. All fields are
// guarded by Manager.mu.
type model struct {
	Model
	key string // of this entry; a model forgotten and added again is another entry

	phase     phase
	staged    engine.Staged // while staged or unstaging
	spec      engine.Spec   // kept when the model is unstaged: equal bytes, equal spec
	hostBytes int64         // as counted in the host pool
	hostCost  int64         // as last seen; 0 is not known
	rowsApart bool          // see there; of spec
	apart     apart         // requests for it that run in no batch
	queued    bool          // in hostPool.waiting

	// retiring: what is resident drains, then the host memory is given back.
	// Requests that come meanwhile wait for the model to be opened again.
	retiring bool
	gone     bool // forgotten; the entry goes when its bytes have
	pinned   bool
	retried  bool // the engine was short of memory once already

	waiting []*ticket // for the model to be staged
	slots   []*slot   // by device
	failure failure   // of Open

	openBegan, openEnded time.Time
	unstagings           int // how often the host memory was given back

	gaps     arrival.Gaps // between requests
	stats    api.CacheStats
	lastUsed time.Time
	dirty    bool // not yet in a snapshot
}

// slotState is where a model is on one device.
//
//	absent -> loading -> resident <-> draining -> closing -> absent
type slotState int

const (
	slotAbsent   slotState = iota
	slotLoading            // Staged.Load is going on
	slotResident           // gives leases
	slotDraining           // gives no more leases, leaves with the last one
	slotClosing            // Instance.Close is going on
)

// slot is a model on a device, or its absence. Guarded by Manager.mu, except that
// who holds a lease may use the instance.
type slot struct {
	model *model
	dev   *device
	state slotState

	instance  engine.Instance
	cost      engine.Cost // as the engine said last
	known     bool        // cost is set
	held      engine.Cost // as counted in the ledger, from loading to closing
	residual  int64       // as counted in the ledger, while absent
	idleBytes int64       // as counted in device.idle

	leases  int         // requests that need the instance
	running int         // those of them that compute
	want    queue.Group // in device.loads: requests that wait for the model to be resident
	turn    queue.Group // in device.turns: requests that hold a lease and wait to compute
	hold    hold        // of turn
	queued  bool        // want is open: waits for bytes; only if it is not empty
	retried bool        // the engine was short of memory once already

	prefetchAt time.Duration // when to bring it back; see foresee
	foreseen   int           // place in Manager.forecast, -1 outside
	prefetched bool          // brought without a request, and not used since then

	transfer  transfer // while loading
	loadBegan time.Time
	entry     policy.Entry  // of the last Load, for the order of eviction
	loads     int           // that have succeeded
	swap      mean          // of Loads but the first, without waiting for the link
	compute   mean          // of runs
	runs      int64         // requests computed here without an error
	computed  time.Duration // in those
	failure   failure       // of Load
}

// device is one place where models run, with everything that waits for it.
// Guarded by Manager.mu.
type device struct {
	engine.Device           // as first read
	read          time.Time // last, before a load
	index         int

	ledger  ledger
	order   policy.Order // of the slots that are resident, by model.key
	leaving []*slot      // draining or closing
	closing int          // the number of the latter
	idle    int64        // bytes that models would give back that nobody uses, and that are not pinned
	loads   *queue.Queue // requests that wait for their model
	claim   *slot        // models in use give way for it, so it is the next to load
	link    link
	// expected is what is prefetched when idle models have left for it.
	expected *slot

	turns   *queue.Queue // requests that hold a lease and wait to compute
	running int          // runs that go on
	queued  int          // requests that wait, for whatever
	stall   stall
	work    Work // of it what is counted

	loss failure // ErrDeviceLost
}

// hostPool counts the host memory of staged models. Guarded by Manager.mu.
type hostPool struct {
	budget, used int64
	order        policy.Order // of the staged models, by model.key
	waiting      []*model     // for bytes, first come first served
	closing      int          // models being unstaged
}

// newSlot is the absence of a model on a device.
func newSlot(mod *model, d *device) *slot {
	s := &slot{model: mod, dev: d, foreseen: -1}
	s.want, s.turn = queue.NewGroup(s), queue.NewGroup(s)
	return s
}

// concurrency is how many requests may compute at once with one instance.
func (mod *model) concurrency() int { return max(mod.spec.Concurrency, 1) }

// openCost is what to reserve before the model is opened.
func (mod *model) openCost() int64 {
	if mod.hostCost > 0 {
		return mod.hostCost
	}
	return mod.Size
}

// need is how many bytes a load takes beyond what the model left on the device.
func (s *slot) need() int64 { return s.cost.Peak - s.residual }

// bytes is how many the slot's device counts for it.
func (s *slot) bytes() int64 {
	switch s.state {
	case slotAbsent:
		return s.residual
	case slotLoading:
		return s.held.Peak
	default:
		return s.held.Resident
	}
}

// open reports whether the engine has, or is about to have, an instance.
func (s *slot) open() bool { return s.state != slotAbsent }

// anySlot reports whether the predicate holds on some device.
func (mod *model) anySlot(is func(*slot) bool) bool {
	for _, s := range mod.slots {
		if is(s) {
			return true
		}
	}
	return false
}

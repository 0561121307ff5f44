package cachemgr

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// batch is requests for one model that run as one. They are put together when the
// device is free for the first of them, from those that wait then; without a
// Config.BatchDelay no request is held back for others to come. A batch has one turn, and its members' leases; it
// runs in a goroutine of its own, because each of its members may leave.
type batch struct {
	slot    *slot
	members []*ticket
	rows    int64
	ctx     context.Context // ends when all members have left
	cancel  context.CancelFunc

	gathered chan struct{} // closed when the members' tensors are read no more

	// Guarded by Manager.mu:
	left int   // members that gave up
	err  error // that the run ended with
	well int   // members that ran well alone after that

	in, out []tensor.Tensor
	buffer  *buffer.Buffer // of in, and of out as far as its sizes were known
	took    time.Duration
	takers  atomic.Int32 // members that have not taken their outputs yet
}

// batchRows is how many rows a request brings to a batch; 0 if it must run alone:
// its sender has not said that rows of the model are independent, or its tensors
// do not agree on their number.
func batchRows(r *Request) int64 {
	if r.MaxBatch < 2 || len(r.In) == 0 || len(r.In[0].Shape) == 0 {
		return 0
	}
	rows := r.In[0].Shape[0]
	for _, list := range [][]tensor.Tensor{r.In, r.Out} {
		for _, t := range list {
			if t.Data != nil && (rows < 1 || len(t.Shape) == 0 || t.Shape[0] != rows || int64(len(t.Data))%rows != 0) {
				return 0
			}
		}
	}
	return rows
}

// mostRows is how large a batch may be that a ticket is in.
func (t *ticket) mostRows() int64 {
	most := int64(t.ask.MaxBatch)
	if spec := t.model.spec.MaxBatch; spec >= 0 {
		most = min(most, int64(spec))
	}
	return most
}

// joins reports whether two requests differ in nothing but their rows.
func (t *ticket) joins(other *ticket) bool {
	return !other.alone &&
		slices.EqualFunc(t.ask.In, other.ask.In, t.sameRows(other)) &&
		slices.EqualFunc(t.ask.Out, other.ask.Out, t.sameRows(other))
}

func (t *ticket) sameRows(other *ticket) func(a, b tensor.Tensor) bool {
	return func(a, b tensor.Tensor) bool {
		if a.Name != b.Name || (a.Data == nil) != (b.Data == nil) {
			return false
		}
		return a.Data == nil || a.Datatype == b.Datatype && slices.Equal(a.Shape[1:], b.Shape[1:]) &&
			int64(len(a.Data))/t.rows == int64(len(b.Data))/other.rows
	}
}

// batchFor takes the requests out of the queue that run together with one whose
// turn it is; nil if it runs alone.
func (m *Manager) batchFor(t *ticket) *batch {
	if t.alone {
		return nil
	}
	s := t.slot
	b := &batch{slot: s, rows: t.rows}
	for most := t.mostRows(); ; {
		r := s.dev.turns.PeekOf(m.clock(), &s.turn)
		if r == nil {
			break
		}
		next := owner(r)
		if !t.joins(next) || b.rows+next.rows > min(most, next.mostRows()) {
			break
		}
		most = min(most, next.mostRows())
		s.dev.turns.Remove(r)
		next.at = nowhere
		b.rows += next.rows
		b.members = append(b.members, next)
	}
	if len(b.members) == 0 {
		return nil
	}
	b.members = slices.Insert(b.members, 0, t)
	return b
}

// start runs a batch. It has its turn.
func (m *Manager) start(b *batch) {
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.gathered = make(chan struct{})
	for _, t := range b.members {
		t.batch = b
		m.waitsNoMore(t)
	}
	go func() {
		defer b.cancel()
		err := m.runTogether(b)
		m.mu.Lock()
		defer m.unlock()
		m.endBatch(b, err)
	}()
}

// runTogether runs a batch. A panic of the engine is an error here; it will be one
// of the member that causes it, when that runs alone.
func (m *Manager) runTogether(b *batch) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	b.gather(&m.copies)
	began := time.Now()
	err = b.slot.instance.Run(b.ctx, b.in, b.out)
	b.took = time.Since(began)
	if err == nil {
		err = b.checkOutputs()
	}
	return err
}

// endBatch gives a batch's turn back. What went wrong with it is not known to be the
// fault of all: each member then runs alone.
func (m *Manager) endBatch(b *batch, err error) {
	s, d := b.slot, b.slot.dev
	m.endTurn(s)
	s.model.stats.ComputeNs += b.took.Nanoseconds()
	lost := errors.Is(err, engine.ErrDeviceLost)
	if err == nil {
		s.ran(b.took, len(b.members))
		s.model.apart.all = failure{}
	}
	b.err = err
	stay := len(b.members) - b.left
	if b.takers.Store(int32(stay)); err != nil || stay == 0 {
		b.buffer.Release()
	}
	lead := true
	for _, t := range b.members {
		switch {
		case t.left:
			m.release(s)
		case err != nil && !lost:
			m.runAlone(t)
		default:
			t.lead, lead = lead, false
			m.answered(t, err)
			m.release(s)
		}
	}
	if lost {
		m.lose(d, err)
		m.pump()
	}
	m.goOn(d)
	m.mark(s.model)
}

// answered ends the call of a member of a batch.
func (m *Manager) answered(t *ticket, err error) {
	m.calls--
	if err != nil {
		t.model.stats.Failures++
	}
	m.count(t.client, err)
	t.settled, t.err = true, err
	close(t.done)
}

// runAlone lets a member of a batch wait for a turn of its own; it has its lease.
func (m *Manager) runAlone(t *ticket) {
	t.batch, t.former, t.alone = nil, t.batch, true
	m.waiting++
	t.countAt(t.slot.dev)
	t.at = atRun
	t.slot.dev.turns.Push(m.clock(), &t.slot.turn, &t.Request)
	m.holdBack(t.slot, t)
	t.slot.allowTurns()
}

// leaveBatch lets a member give up that is in a batch which goes on. The caller must
// then wait for batch.gathered.
func (m *Manager) leaveBatch(t *ticket, cause error) {
	b := t.batch
	t.left = true
	if b.left++; b.left == len(b.members) {
		b.cancel()
	}
	m.calls--
	t.model.stats.Failures++
	m.count(t.client, cause)
	m.mark(t.model)
}

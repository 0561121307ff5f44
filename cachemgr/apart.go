package cachemgr

import (
	"errors"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// This file says which requests run in no batch. One that the engine refuses costs
// all that are in it a second run, so it is to be rare: what a model cannot compute
// together is not tried, and who is to blame for a batch that has failed stays out
// of the next ones.

// apartFor is how long a function's requests for a model run alone, after one of
// them has spoiled a batch.
const apartFor = 10 * time.Second

// apart is what was learned from batches of a model that have failed. Guarded by
// Manager.mu.
type apart struct {
	all       failure              // of batches whose members were all well alone
	functions map[string]time.Time // that have spoiled one, and until when they are apart
}

// rowsApart reports whether the rows of a model's tensors can be told apart, and as
// many be computed as there are: the first dimension of all is a dynamic one, and
// every element takes as many bytes.
func rowsApart(spec engine.Spec) bool {
	for _, list := range [][]tensor.Spec{spec.Inputs, spec.Outputs} {
		for _, t := range list {
			if t.Datatype.Size() == 0 || len(t.Shape) == 0 || t.Shape[0] != -1 {
				return false
			}
		}
	}
	return true
}

// mustRunAlone reports whether a request for a model that is resident is to be in no
// batch.
func (m *Manager) mustRunAlone(t *ticket, now time.Time) bool {
	mod := t.model
	return t.rows == 0 || !mod.rowsApart || mod.apart.all.holds(now) || now.Before(mod.apart.functions[t.ask.Function])
}

// ranAlone learns from the end of a request whose batch had failed before.
func (m *Manager) ranAlone(t *ticket, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, a, now := t.former, &t.model.apart, time.Now()
	switch {
	case errors.Is(err, engine.ErrBadInput):
		a.blame(t.ask.Function, now)
	case err == nil:
		b.well++
		if b.well == len(b.members) { // then it was that they ran together
			m.note(&a.all, b.err)
		}
	}
}

// blame keeps a function's requests apart. Those that were long enough are forgotten.
func (a *apart) blame(function string, now time.Time) {
	for other, until := range a.functions {
		if !now.Before(until) {
			delete(a.functions, other)
		}
	}
	if a.functions == nil {
		a.functions = make(map[string]time.Time)
	}
	a.functions[function] = now.Add(apartFor)
}

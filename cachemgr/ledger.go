package cachemgr

import "github.com/faas-gpu/faas-gpu/cachemgr/engine"

// ledger counts the bytes of one device, from before the engine asks for them
// until after it has given them back. It only adds up; who may take bytes is
// decided before.
type ledger struct {
	budget   int64
	overhead int64 // held by the engine for all models together

	resident, loading, draining, residual int64

	reserved int64 // for somebody beside the models: see Manager.Reserve
}

// limit is what models may hold together.
func (l *ledger) limit() int64 { return l.budget - l.overhead }

func (l *ledger) used() int64 { return l.resident + l.loading + l.draining + l.residual + l.reserved }

// room may be negative: an estimate was too low, or the overhead has grown.
func (l *ledger) room() int64 { return l.limit() - l.used() }

// reserve counts a load's peak; what the model left behind is part of it.
func (l *ledger) reserve(peak, residual int64) {
	l.loading += peak
	l.residual -= residual
}

// abort undoes reserve after a load that failed.
func (l *ledger) abort(peak, residual int64) {
	l.loading -= peak
	l.residual += residual
}

// loaded replaces the peak by what stays.
func (l *ledger) loaded(peak, resident int64) {
	l.loading -= peak
	l.resident += resident
}

// drain counts resident bytes as on their way out.
func (l *ledger) drain(resident int64) {
	l.resident -= resident
	l.draining += resident
}

// keep undoes drain.
func (l *ledger) keep(resident int64) {
	l.draining -= resident
	l.resident += resident
}

// evicted leaves the residue of a drained model.
func (l *ledger) evicted(resident, residual int64) {
	l.draining -= resident
	l.residual += residual
}

// unstaged gives the residue back.
func (l *ledger) unstaged(residual int64) { l.residual -= residual }

// sane makes an engine's numbers obey the contract, so that a wrong one cannot
// bring the ledger below zero.
func sane(c engine.Cost) engine.Cost {
	c.Resident = max(c.Resident, 0)
	c.Peak = max(c.Peak, c.Resident)
	c.Residual = min(max(c.Residual, 0), c.Resident)
	c.Host = max(c.Host, 0)
	return c
}

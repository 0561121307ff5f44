package queue

import (
	"cmp"
	"slices"
	"time"
)

// Constants of RRC, as Torpor has them.
const (
	rrcRound      = 2 * time.Second // after which functions are divided anew
	rrcAdapt      = 20              // rounds, after which alpha is adapted
	rrcNotable    = 0.04            // a change of the share of functions that attain
	rrcSlowGrowth = 1.01
)

// RRC serves by required request counts (Torpor, USENIX ATC 2025):
// with p the target, and m of a function's n requests answered in time,
//
//	RRC = (p*n - m) / (1 - p)
//
// more have to be in time until the function attains its objective. Every 2 s the
// functions are taken in ascending order of RRC, as long as the sum of those that
// lack something is at most alpha times the sum of all; the others are given up
// for now. Requests of the former go first, those in most need before the others;
// then requests of the latter, those in least need first. Every 40 s alpha
// follows the share of functions that attain: it doubles if that has grown by
// 4 % or more, halves if it has fallen so, and else grows by 1 %, up to 1.
//
// Here n and m are counts of a window; and the device, not the queue, says how
// many requests of a function may run at once.
type RRC struct {
	book  *Book
	alpha float64
	share float64 // of functions that attained, when it last changed notably
	round uint64
	next  time.Duration
	lack  []*Function // scratch
}

var _ Policy = (*RRC)(nil)

// NewRRC returns the policy over a book.
func NewRRC(b *Book) *RRC { return &RRC{book: b, alpha: 1, next: rrcRound} }

// Rank implements Policy.
func (p *RRC) Rank(_ time.Duration, r *Request) Rank {
	if r.Function == nil {
		return Rank{Until: Forever}
	}
	rank := Rank{Key: -r.Function.required(p.book.target), Until: Forever}
	if r.Function.low {
		rank = Rank{Class: 1, Key: -rank.Key, Until: Forever}
	}
	return rank
}

// Round implements Policy. A long silence is one round.
func (p *RRC) Round(now time.Duration) uint64 {
	if now < p.next {
		return p.round
	}
	p.next = now + rrcRound
	p.round++
	if p.round%rrcAdapt == 0 {
		p.adapt(now)
	}
	p.divide(now)
	return p.round
}

// divide gives up the functions that would take more than the budget.
func (p *RRC) divide(now time.Duration) {
	lack, sum := p.lack[:0], 0.0
	for _, f := range p.book.functions {
		f.advance(now)
		f.low = false
		if need := f.required(p.book.target); need > 0 {
			lack = append(lack, f)
			sum += need
		}
	}
	slices.SortFunc(lack, func(a, b *Function) int {
		return cmp.Compare(a.required(p.book.target), b.required(p.book.target))
	})
	// Functions of equal needs go one way together, so that the order in which
	// they were seen makes no difference.
	budget, taken, last := p.alpha*sum, 0.0, 0.0
	for _, f := range lack {
		need := f.required(p.book.target)
		if taken += need; taken > budget*(1+1e-9) && need != last {
			f.low = true
			continue
		}
		last = need
	}
	clear(lack)
	p.lack = lack[:0]
}

func (p *RRC) adapt(now time.Duration) {
	attain, all := 0, 0
	for _, f := range p.book.functions {
		if f.advance(now); f.allSent > 0 {
			all++
			if f.required(p.book.target) <= 0 {
				attain++
			}
		}
	}
	if all == 0 {
		return
	}
	share, change := float64(attain)/float64(all), 0.0
	if p.share > 0 {
		change = (share - p.share) / p.share
	} else if share > 0 {
		change = 1
	}
	switch {
	case change >= rrcNotable:
		p.alpha, p.share = min(1, 2*p.alpha), share
	case change <= -rrcNotable:
		p.alpha, p.share = p.alpha/2, share
	default:
		p.alpha = min(1, p.alpha*rrcSlowGrowth)
	}
}

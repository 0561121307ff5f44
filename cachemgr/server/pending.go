package server

import (
	"crypto/rand"
	"encoding/base64"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// pendingFor is how long a function has to bring what it offered.
const pendingFor = time.Hour

// maxNonces is how many challenges of one function may be open: its replicas
// each get their own. One more ends the oldest.
const maxNonces = 4 * maxModels

// pending knows which offers wait for a proof or an upload.
type pending struct {
	mu        sync.Mutex
	functions map[api.FunctionRef]*waiting
}

// waiting is what one function still has to bring.
type waiting struct {
	until  time.Time
	offers []api.Offer
	nonces map[string]challenge // those that are open
	serial uint64               // challenges made
}

// challenge is what a nonce is about.
type challenge struct {
	digest string
	number uint64 // grows with every challenge
}

func newPending() *pending { return &pending{functions: make(map[api.FunctionRef]*waiting)} }

// replace sets the offers that wait: those of the newest offer. Challenges stay
// open, they may be another replica's. What is overdue is forgotten.
func (p *pending) replace(ref api.FunctionRef, offers []api.Offer, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, w := range p.functions {
		if now.After(w.until) {
			delete(p.functions, other)
		}
	}
	w := p.functions[ref]
	switch {
	case w == nil && len(offers) == 0:
		return
	case w == nil:
		w = &waiting{nonces: make(map[string]challenge)}
		p.functions[ref] = w
	}
	w.until, w.offers = now.Add(pendingFor), offers
}

// challenge makes a nonce for a digest that ref offers; ok is false where it
// offers nothing.
func (p *pending) challenge(ref api.FunctionRef, digest string) (nonce string, ok bool) {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	nonce = base64.StdEncoding.EncodeToString(random)
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.functions[ref]
	if w == nil {
		return "", false
	}
	if len(w.nonces) >= maxNonces {
		w.dropOldest()
	}
	w.serial++
	w.nonces[nonce] = challenge{digest, w.serial}
	return nonce, true
}

// dropOldest ends the challenge that is open for longest.
func (w *waiting) dropOldest() {
	oldest, least := "", uint64(math.MaxUint64)
	for nonce, c := range w.nonces {
		if c.number < least {
			oldest, least = nonce, c.number
		}
	}
	delete(w.nonces, oldest)
}

// redeem uses a challenge up. It reports whether ref has one for this digest.
func (p *pending) redeem(ref api.FunctionRef, nonce, digest string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.functions[ref]
	if w == nil || w.nonces[nonce].digest != digest || digest == "" {
		return false
	}
	delete(w.nonces, nonce)
	return true
}

// find looks an offer up that ref still has to bring, by a test of it.
func (p *pending) find(ref api.FunctionRef, is func(api.Offer) bool) (api.Offer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.functions[ref]; w != nil {
		if i := slices.IndexFunc(w.offers, is); i >= 0 {
			return w.offers[i], true
		}
	}
	return api.Offer{}, false
}

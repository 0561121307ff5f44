package server

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Limits of an offer.
const (
	maxModels     = 256       // of one function, all versions counted
	maxModelBytes = 2<<30 - 1 // of a file: what a protobuf message can have
)

// offer takes the full set of a function's models. What the node lacks has to be
// uploaded and then offered again; of what it has the caller must show that it
// has it too: a digest alone is no right to use another function's model.
func (s *Server) offer(w http.ResponseWriter, r *http.Request, c Caller) error {
	var request api.OfferRequest
	if err := s.readJSON(w, r, smallBody, &request); err != nil {
		return err
	}
	if len(request.Models) > maxModels {
		return fmt.Errorf("%w: %d models are offered, at most %d are taken", errBadRequest, len(request.Models), maxModels)
	}
	answers := make([]api.Offered, len(request.Models))
	var good []api.Offer
	var to []*api.Offered // the answers to the good ones
	room := newRoom(s.limits.StoreEach)
	for i, o := range request.Models {
		answers[i] = api.Offered{Name: o.Name, Version: o.Version, Digest: o.Digest}
		err := s.limits.acceptable(o)
		if err == nil {
			err = room.take(o)
		}
		if err != nil {
			answers[i].Error = err.Error()
			continue
		}
		good, to = append(good, o), append(to, &answers[i])
	}
	if err := s.consider(r.Context(), c, good, to); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, api.OfferResponse{Epoch: s.Epoch(), Models: answers})
	return nil
}

// room is what a function's models may take of the store. Names of one file take
// its bytes once.
type room struct {
	limit, used int64
	counted     map[string]bool // by digest
}

func newRoom(limit int64) *room { return &room{limit: limit, counted: make(map[string]bool)} }

// take counts the file of an offer that is acceptable.
func (r *room) take(o api.Offer) error {
	if r.counted[o.Digest] {
		return nil
	}
	if o.Size > r.limit-r.used {
		return fmt.Errorf("model %q: with its file of %d bytes the models of this function have more than the %d bytes that one function may have (store_function_quota)",
			o.Name, o.Size, r.limit)
	}
	r.counted[o.Digest] = true
	r.used += o.Size
	return nil
}

// consider makes offers the full set of the caller's models, as far as it owns
// them, and says in the answers what else is needed.
func (s *Server) consider(ctx context.Context, c Caller, offers []api.Offer, to []*api.Offered) error {
	owned := s.ownedDigests(c.Function)
	known, err := s.store.Offer(ctx, c.Function, c.Minted, offers)
	if err != nil {
		return err
	}
	var waiting []api.Offer
	for i, o := range offers {
		switch {
		case known[i]:
		case !s.store.Has(o.Digest):
			to[i].Need = api.NeedUpload
		case !owned[o.Digest]:
			to[i].Need = api.NeedProof
		default: // a new name for a file that it had
			if err := s.store.Register(ctx, c.Function, c.Minted, o); err != nil {
				to[i].Error = err.Error()
			}
		}
		if to[i].Need != "" {
			waiting = append(waiting, o)
		}
	}
	s.pending.replace(c.Function, waiting, time.Now())
	s.challenge(c, to)
	for _, refused := range s.follow(c.Function) {
		for _, a := range to {
			if a.Name == refused.offer.Name && a.Version == refused.offer.Version && a.Need == "" {
				a.Error = refused.err.Error()
			}
		}
	}
	return nil
}

// acceptable says what is wrong with an offer, nil if nothing is.
func (l Limits) acceptable(o api.Offer) error {
	switch {
	case o.Size > maxModelBytes:
		return fmt.Errorf("model %q: its file of %d bytes is over the limit of %d", o.Name, o.Size, maxModelBytes)
	case o.Format == string(engine.FormatPlan) && l.NoPlans != nil:
		return fmt.Errorf(`model %q: format "plan" runs on GPUs only: %w; bring "onnx"`, o.Name, l.NoPlans)
	case o.Format == string(engine.FormatPlan) && !l.AllowPlans:
		return fmt.Errorf(`model %q: format "plan" is native code, which this node does not accept (allow_plans is false); bring "onnx"`, o.Name)
	}
	return o.Check()
}

// ownedDigests are the files that a function has under some name.
func (s *Server) ownedDigests(ref api.FunctionRef) map[string]bool {
	owned := make(map[string]bool)
	for _, o := range s.store.Models(ref) {
		owned[o.Digest] = true
	}
	return owned
}

// challenge gives every answer that needs a proof a nonce.
func (s *Server) challenge(c Caller, answers []*api.Offered) {
	for _, a := range answers {
		if a.Need != api.NeedProof {
			continue
		}
		nonce, ok := s.pending.challenge(c.Function, a.Digest)
		if !ok {
			a.Need, a.Error = "", "another offer of this function came meanwhile: offer the models again"
		}
		a.Nonce = nonce
	}
}

// proof answers a challenge and registers the model.
func (s *Server) proof(w http.ResponseWriter, r *http.Request, c Caller) error {
	var p api.Proof
	if err := s.readJSON(w, r, smallBody, &p); err != nil {
		return err
	}
	nonce, err := base64.StdEncoding.DecodeString(p.Nonce)
	if err != nil {
		return fmt.Errorf("%w: the nonce is not base64", errBadRequest)
	}
	registered := api.Offered{Name: p.Name, Version: p.Version, Digest: p.Digest}
	if o, ok := s.store.Lookup(c.Function, p.Name, p.Version); ok && o.Digest == p.Digest {
		s.writeJSON(w, http.StatusOK, registered) // another replica was faster
		return nil
	}
	o, offered := s.pending.find(c.Function, func(o api.Offer) bool {
		return o.Name == p.Name && o.Version == p.Version && o.Digest == p.Digest
	})
	if !offered || !s.pending.redeem(c.Function, p.Nonce, p.Digest) {
		return fmt.Errorf("%w: no challenge with this nonce is open for %.80q; offer the models again", errNotOffered, p.Digest)
	}
	if err := s.checkProof(p, nonce); err != nil {
		return err
	}
	if err := s.store.Register(r.Context(), c.Function, c.Minted, o); err != nil {
		return err
	}
	for _, refused := range s.follow(c.Function) {
		if refused.offer.Name == p.Name && refused.offer.Version == p.Version {
			return refused.err
		}
	}
	s.writeJSON(w, http.StatusOK, registered)
	return nil
}

func (s *Server) checkProof(p api.Proof, nonce []byte) error {
	f, size, err := s.store.OpenFile(p.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	want, err := api.ProofOfPossession(nonce, f, size)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(p.SHA256)) != 1 {
		return fmt.Errorf("%w: the proof for %s is wrong", errForbidden, p.Digest)
	}
	return nil
}

// upload takes the bytes of a file that the caller has offered. It registers
// nothing: the file may have been there already, and then nobody has looked at
// the caller's bytes.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, c Caller) error {
	digest := r.PathValue("digest")
	if s.ownedDigests(c.Function)[digest] {
		s.writeJSON(w, http.StatusOK, struct{}{}) // another replica was faster
		return nil
	}
	o, offered := s.pending.find(c.Function, func(o api.Offer) bool { return o.Digest == digest })
	if !offered {
		return fmt.Errorf("%w: %.80q waits for no upload; offer the models again", errNotOffered, digest)
	}
	if r.ContentLength >= 0 && r.ContentLength != o.Size {
		return fmt.Errorf("%w: %s was offered with %d bytes, the body has %d", errBadRequest, digest, o.Size, r.ContentLength)
	}
	s.expectBody(w, o.Size)
	if err := s.store.Put(r.Context(), digest, o.Size, r.Body); err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

// references takes the set of functions that exist and forgets the others.
func (s *Server) references(w http.ResponseWriter, r *http.Request, _ Caller) error {
	var refs api.References
	if err := s.readJSON(w, r, referencesBody, &refs); err != nil {
		return err
	}
	dropped, err := s.store.SetReferences(r.Context(), refs)
	for _, f := range dropped.Functions {
		s.follow(f)
	}
	if sharing := s.sharing.Load(); sharing != nil {
		sharing.EndGone()
	}
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

// follow makes a function's models usable as the store has them, and those that
// want it resident. What cannot be taken over is logged and returned: the store
// keeps it, and a restart tries again.
func (s *Server) follow(ref api.FunctionRef) []refusal {
	refused := s.catalog.follow(ref)
	for _, r := range refused {
		s.log.Warn("model not taken over", "namespace", ref.Namespace, "function", ref.Name,
			"model", r.offer.Name, "version", r.offer.Version, "error", r.err)
	}
	for _, e := range s.catalog.entriesOf(ref) {
		if e.offer.Preload {
			s.preload(e.file)
		}
	}
	return refused
}

// restore takes over all that the store remembers, so that a restarted cache
// manager answers at once.
func (s *Server) restore() {
	for _, r := range s.store.Registrations() {
		s.follow(r.Function)
	}
}

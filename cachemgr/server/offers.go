package server

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// offer takes the full set of a function's models. What is new has to be brought
// (upload), or the caller has to show that it has it (proof): a digest alone is
// no right to use another function's model.
func (s *Server) offer(w http.ResponseWriter, r *http.Request, c Caller) error {
	var request api.OfferRequest
	if err := s.readJSON(w, r, smallBody, &request); err != nil {
		return err
	}
	if len(request.Models) > maxModels {
		return fmt.Errorf("%w: %d models are offered, at most %d are taken", errBadRequest, len(request.Models), maxModels)
	}
	if err := checkDistinct(request.Models); err != nil {
		return err
	}
	if err := s.withdraw(c.Function, request.Models); err != nil {
		return err
	}
	answers := make([]api.Offered, len(request.Models))
	var waiting []api.Offer
	for i, o := range request.Models {
		answers[i] = s.consider(c, o)
		if answers[i].Need != "" {
			waiting = append(waiting, o)
		}
	}
	s.pending.replace(c.Function, waiting, time.Now())
	s.challenge(c, answers)
	writeJSON(w, http.StatusOK, api.OfferResponse{Epoch: s.Epoch(), Models: answers})
	return nil
}

// consider decides about one offer, and registers it where nothing is missing.
func (s *Server) consider(c Caller, o api.Offer) api.Offered {
	a := api.Offered{Name: o.Name, Version: o.Version, Digest: o.Digest}
	err := checkOffer(o, s.limits.AllowPlans)
	switch {
	case err != nil:
	case !s.store.Has(o.Digest):
		a.Need = api.NeedUpload
	case !s.catalog.uses(c.Function, o.Digest):
		a.Need = api.NeedProof
	default:
		err = s.register(c, o)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// challenge gives every answer that needs a proof a nonce.
func (s *Server) challenge(c Caller, answers []api.Offered) {
	for i := range answers {
		a := &answers[i]
		if a.Need != api.NeedProof {
			continue
		}
		nonce, ok := s.pending.challenge(c.Function, a.Digest)
		if !ok {
			a.Need, a.Error = "", "too many challenges are open: answer those first"
		}
		a.Nonce = nonce
	}
}

// withdraw drops the names that a function no longer offers.
func (s *Server) withdraw(ref api.FunctionRef, offers []api.Offer) error {
	offered := func(old api.Offer) bool {
		return slices.ContainsFunc(offers, func(o api.Offer) bool {
			return o.Name == old.Name && o.Version == old.Version && o.Digest == old.Digest
		})
	}
	if err := s.store.Retain(ref, offered); err != nil {
		return err
	}
	s.catalog.retain(ref, offered)
	return nil
}

// proof answers a challenge.
func (s *Server) proof(w http.ResponseWriter, r *http.Request, c Caller) error {
	var p api.Proof
	if err := s.readJSON(w, r, smallBody, &p); err != nil {
		return err
	}
	nonce, err := base64.StdEncoding.DecodeString(p.Nonce)
	if err != nil {
		return fmt.Errorf("%w: the nonce is not base64", errBadRequest)
	}
	if !s.pending.redeem(c.Function, p.Nonce, p.Digest) {
		return fmt.Errorf("%w: no challenge with this nonce is open for %s; offer the models again", errNotOffered, p.Digest)
	}
	want, err := s.store.Prove(p.Digest, nonce)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(p.SHA256)) != 1 {
		return fmt.Errorf("%w: the proof for %s is wrong", errForbidden, p.Digest)
	}
	if err := s.registerAll(c, p.Digest); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, api.Offered{Name: p.Name, Version: p.Version, Digest: p.Digest})
	return nil
}

// upload takes the bytes of a file that the caller has offered.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, c Caller) error {
	digest := r.PathValue("digest")
	offers := s.pending.offers(c.Function, digest)
	if len(offers) == 0 {
		return fmt.Errorf("%w: %s waits for no upload; offer the models first", errNotOffered, digest)
	}
	size := offers[0].Size
	if r.ContentLength >= 0 && r.ContentLength != size {
		return fmt.Errorf("%w: %s was offered with %d bytes, the body has %d", errBadRequest, digest, size, r.ContentLength)
	}
	s.expectBody(w, size)
	if err := s.store.Put(r.Context(), digest, size, r.Body); err != nil {
		return err
	}
	bodyDone(w)
	if err := s.registerAll(c, digest); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

// registerAll registers what the caller offers under a digest: it has shown that
// it has the bytes.
func (s *Server) registerAll(c Caller, digest string) error {
	for _, o := range s.pending.offers(c.Function, digest) {
		if err := s.register(c, o); err != nil {
			return fmt.Errorf("model %q: %w", o.Name, err)
		}
	}
	return nil
}

// register gives a file in the store a name, on disk first: what a caller was
// told survives a restart.
func (s *Server) register(c Caller, o api.Offer) error {
	if err := s.store.Register(c.Function, c.Minted, o); err != nil {
		return err
	}
	if _, err := s.catalog.add(c.Function, o, s.store.Path(o.Digest)); err != nil {
		return err
	}
	if o.Preload {
		s.load(api.PrefetchRequest{Digest: o.Digest})
	}
	return nil
}

// references takes the set of functions that exist and forgets the others.
func (s *Server) references(w http.ResponseWriter, r *http.Request, _ Caller) error {
	var refs api.References
	if err := s.readJSON(w, r, referencesBody, &refs); err != nil {
		return err
	}
	if err := s.store.SetReferences(refs); err != nil {
		return err
	}
	registered := s.store.Registered()
	var gone []api.FunctionRef
	for _, ref := range s.catalog.refs() {
		if _, ok := registered[ref]; !ok {
			gone = append(gone, ref)
		}
	}
	s.catalog.drop(gone)
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

// restore names all models that the store remembers, so that a restarted cache
// manager answers at once.
func (s *Server) restore() {
	for ref, offers := range s.store.Registered() {
		for _, o := range offers {
			if err := checkOffer(o, s.limits.AllowPlans); err != nil {
				s.log.Warn("model not restored", "function", ref.Name, "model", o.Name, "error", err)
				continue
			}
			if _, err := s.catalog.add(ref, o, s.store.Path(o.Digest)); err != nil {
				s.log.Warn("model not restored", "function", ref.Name, "model", o.Name, "error", err)
				continue
			}
			if o.Preload {
				s.load(api.PrefetchRequest{Digest: o.Digest})
			}
		}
	}
}

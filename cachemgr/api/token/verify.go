package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

const (
	maxToken  = 4 << 10 // bytes
	maxCached = 4096    // verified tokens, one or two a function
)

// Verifier checks tokens and remembers those that were good: the signature of a
// token is checked once, its expiry at every call.
type Verifier struct {
	key    ed25519.PublicKey
	now    func() time.Time
	parser *jwt.Parser

	mu    sync.RWMutex
	known map[string]Identity
}

// NewVerifier returns a verifier that reads the time from now.
func NewVerifier(key ed25519.PublicKey, now func() time.Time) *Verifier {
	return &Verifier{
		key: key,
		now: now,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
			jwt.WithStrictDecoding(), // one token has one text
			jwt.WithExpirationRequired(),
			jwt.WithIssuer(issuer),
			jwt.WithTimeFunc(now),
		),
		known: make(map[string]Identity),
	}
}

// Verify says whose token raw is. ErrMissing if it is empty, ErrMalformed,
// ErrExpired, ErrBadSignature.
func (v *Verifier) Verify(raw string) (Identity, error) {
	v.mu.RLock()
	id, ok := v.known[raw]
	v.mu.RUnlock()
	if !ok {
		var err error
		if id, err = v.parse(raw); err != nil {
			return Identity{}, err
		}
		v.remember(raw, id)
	}
	if !v.now().Before(id.Expires) {
		return Identity{}, fmt.Errorf("%w at %s", ErrExpired, id.Expires.UTC().Format(time.RFC3339))
	}
	return id, nil
}

func (v *Verifier) parse(raw string) (Identity, error) {
	switch {
	case raw == "":
		return Identity{}, ErrMissing
	case len(raw) > maxToken:
		return Identity{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxToken)
	}
	var c claims
	_, err := v.parser.ParseWithClaims(raw, &c, func(*jwt.Token) (any, error) { return v.key, nil })
	switch {
	case err == nil:
		return c.identity()
	case errors.Is(err, jwt.ErrTokenMalformed):
		return Identity{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return Identity{}, fmt.Errorf("%w: %w", ErrBadSignature, err)
	case errors.Is(err, jwt.ErrTokenExpired):
		return Identity{}, fmt.Errorf("%w at %s", ErrExpired, c.ExpiresAt.UTC().Format(time.RFC3339))
	}
	// The signature is good, but a claim is missing or not what we sign.
	return Identity{}, fmt.Errorf("%w: %w", ErrMalformed, err)
}

// identity reads claims whose signature was good.
func (c *claims) identity() (Identity, error) {
	id := Identity{Role: c.Role, Minted: time.Unix(0, c.Minted), Expires: c.ExpiresAt.Time}
	switch {
	case c.Minted <= 0:
		return Identity{}, fmt.Errorf("%w: it does not say when it was minted", ErrMalformed)
	case c.Role == RoleProvider:
		return id, nil
	case c.Role != RoleFunction:
		return Identity{}, fmt.Errorf("%w: unknown role %q", ErrMalformed, c.Role)
	case c.Namespace == "" || c.Name == "" || c.UID == "":
		return Identity{}, fmt.Errorf("%w: it does not name a function with namespace, name and uid", ErrMalformed)
	}
	id.Function = api.FunctionRef{Namespace: c.Namespace, Name: c.Name, UID: c.UID}
	return id, nil
}

// remember keeps a verified token, in place of others if there are too many.
func (v *Verifier) remember(raw string, id Identity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxCached {
		v.shrink()
	}
	v.known[raw] = id
}

// shrink forgets what has expired, and if that is nothing, an eighth of the rest.
func (v *Verifier) shrink() {
	now := v.now()
	for raw, id := range v.known {
		if !now.Before(id.Expires) {
			delete(v.known, raw)
		}
	}
	for raw := range v.known {
		if len(v.known) <= maxCached-maxCached/8 {
			return
		}
		delete(v.known, raw)
	}
}

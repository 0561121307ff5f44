// Package token says who calls a cache manager. The provider signs a token for
// each function (and one for itself) with its Ed25519 key; nodes hold the public
// key. A token is a JWT with the algorithm EdDSA.
package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// Role is what a caller may do.
type Role string

const (
	// RoleFunction may use the models of the one function that it names.
	RoleFunction Role = "function"
	// RoleProvider may watch the node, prefetch, and say which functions exist.
	RoleProvider Role = "provider"
)

// Life is how long a token is good for. It is replaced at half its life.
const Life = 24 * time.Hour

// issuer tells our tokens from others that the same key might have signed.
const issuer = "faas-gpu"

// Identity is who calls.
type Identity struct {
	Role Role
	// Function is the caller, for RoleFunction.
	Function api.FunctionRef
	// Minted is when the provider made the token, by its clock, to the
	// nanosecond: the function existed then.
	Minted  time.Time
	Expires time.Time
}

var (
	ErrMissing      = errors.New("no token: the header Authorization must be \"Bearer TOKEN\"")
	ErrMalformed    = errors.New("malformed token")
	ErrExpired      = errors.New("token expired")
	ErrBadSignature = errors.New("token not signed by this installation's provider")
	ErrWrongRole    = errors.New("token has the wrong role")
)

// FromHeader finds the token in the value of an Authorization header. ErrMissing.
func FromHeader(value string) (string, error) {
	scheme, raw, ok := strings.Cut(value, " ")
	raw = strings.TrimSpace(raw)
	if !ok || raw == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	return raw, nil
}

// Require returns ErrWrongRole if the caller has not the role.
func (id Identity) Require(role Role) error {
	if id.Role != role {
		return fmt.Errorf("%w: it is for a %s, this is for the %s", ErrWrongRole, id.Role, role)
	}
	return nil
}

// claims is what a token holds.
type claims struct {
	Role      Role   `json:"role"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
	// Minted is in nanoseconds since 1970; the registered claim "iat" has whole
	// seconds, too coarse to order a token against a set of references.
	Minted int64 `json:"minted"`
	jwt.RegisteredClaims
}

// Signer makes tokens.
type Signer struct {
	key ed25519.PrivateKey
	now func() time.Time
}

// NewSigner returns a signer that reads the time from now.
func NewSigner(key ed25519.PrivateKey, now func() time.Time) *Signer {
	return &Signer{key: key, now: now}
}

// Function makes a token for one deployment of a function.
func (s *Signer) Function(f api.FunctionRef, life time.Duration) (raw string, expires time.Time, err error) {
	return s.sign(claims{Role: RoleFunction, Namespace: f.Namespace, Name: f.Name, UID: f.UID}, life)
}

// Provider makes a token for the provider itself.
func (s *Signer) Provider(life time.Duration) (raw string, expires time.Time, err error) {
	return s.sign(claims{Role: RoleProvider}, life)
}

func (s *Signer) sign(c claims, life time.Duration) (string, time.Time, error) {
	now := s.now()
	expires := now.Add(life)
	c.Minted = now.UnixNano()
	c.RegisteredClaims = jwt.RegisteredClaims{Issuer: issuer, ExpiresAt: jwt.NewNumericDate(expires)}
	raw, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c).SignedString(s.key)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign token: %w", err)
	}
	return raw, c.ExpiresAt.Time, nil
}

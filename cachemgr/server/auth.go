package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
)

// Caller is who sent a request.
type Caller struct {
	Owner    bool            // it may use the models of Function
	Function api.FunctionRef // of an owner
	Provider bool            // it may use the provider's routes
	Minted   time.Time       // when its token was made: the function existed then
	Expires  time.Time       // when that ends; zero: never
}

// Auth says who calls, from the value of the header Authorization, "" if there
// is none. Its errors name what is wrong.
type Auth interface {
	Caller(authorization string) (Caller, error)
}

// Everybody is the Auth of a cache manager that serves one user alone: whoever
// can reach it owns the one set of models, and has the provider's rights.
type Everybody struct{}

// Caller looks at nothing.
func (Everybody) Caller(string) (Caller, error) {
	return Caller{Owner: true, Provider: true, Minted: time.Now()}, nil
}

// Tokens is the Auth of a node of an installation.
type Tokens struct{ Verifier *token.Verifier }

// Caller reads a bearer token.
func (t Tokens) Caller(authorization string) (Caller, error) {
	raw, err := token.FromHeader(authorization)
	if err != nil {
		return Caller{}, err
	}
	id, err := t.Verifier.Verify(raw)
	if err != nil {
		return Caller{}, err
	}
	return Caller{
		Owner:    id.Role == token.RoleFunction,
		Function: id.Function,
		Provider: id.Role == token.RoleProvider,
		Minted:   id.Minted,
		Expires:  id.Expires,
	}, nil
}

func (s *Server) caller(r *http.Request) (Caller, error) {
	c, err := s.auth.Caller(r.Header.Get("Authorization"))
	if err != nil {
		return Caller{}, fmt.Errorf("%w: %w", errUnauthorized, err)
	}
	return c, nil
}

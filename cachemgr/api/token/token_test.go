package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

var digits = api.FunctionRef{Namespace: "openfaas-fn", Name: "digits", UID: "u1"}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func pair(t testing.TB) (*Signer, *Verifier, *clock) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{t: time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)}
	return NewSigner(key, c.now), NewVerifier(pub, c.now), c
}

func TestRoundTrip(t *testing.T) {
	s, v, c := pair(t)
	raw, expires, err := s.Function(digits, Life)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // verified, then remembered
		id, err := v.Verify(raw)
		if err != nil {
			t.Fatal(err)
		}
		if id.Function != digits || id.Role != RoleFunction || !id.Minted.Equal(c.now()) || !id.Expires.Equal(expires) {
			t.Errorf("identity %+v", id)
		}
		if err := id.Require(RoleFunction); err != nil {
			t.Error(err)
		}
		if err := id.Require(RoleProvider); !errors.Is(err, ErrWrongRole) {
			t.Errorf("a function passes as the provider: %v", err)
		}
	}
	raw, _, err = s.Provider(Life)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := v.Verify(raw); err != nil || id.Role != RoleProvider {
		t.Errorf("provider: %+v, %v", id, err)
	}
}

func TestExpiry(t *testing.T) {
	s, v, c := pair(t)
	raw, _, _ := s.Function(digits, time.Hour)
	if _, err := v.Verify(raw); err != nil {
		t.Fatal(err)
	}
	c.add(time.Hour)
	if _, err := v.Verify(raw); !errors.Is(err, ErrExpired) {
		t.Errorf("a remembered token that expired: %v", err)
	}
	fresh := NewVerifier(v.key, c.now)
	if _, err := fresh.Verify(raw); !errors.Is(err, ErrExpired) {
		t.Errorf("an expired token: %v", err)
	}
}

func TestBadTokens(t *testing.T) {
	s, v, c := pair(t)
	good, _, _ := s.Function(digits, Life)
	other, _, _ := pair(t)
	foreign, _, _ := other.Function(digits, Life)
	parts := strings.Split(good, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"role":"provider","minted":1,"iss":"faas-gpu","exp":99999999999}`))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	sign := func(method jwt.SigningMethod, key any, cl jwt.Claims) string {
		raw, err := jwt.NewWithClaims(method, cl).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	exp := jwt.NewNumericDate(c.now().Add(time.Hour))
	ours := jwt.RegisteredClaims{Issuer: issuer, ExpiresAt: exp}
	tests := []struct {
		name, raw string
		want      error
	}{
		{"empty", "", ErrMissing},
		{"no JWT", "abc", ErrMalformed},
		{"too long", strings.Repeat("a", 5000), ErrMalformed},
		{"no base64", "a.b.*", ErrMalformed},
		{"another key", foreign, ErrBadSignature},
		{"claims exchanged", parts[0] + "." + forged + "." + parts[2], ErrBadSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", ErrBadSignature},
		{"algorithm none", none + "." + forged + ".", ErrBadSignature},
		{"HMAC with the public key", sign(jwt.SigningMethodHS256, []byte(v.key), claims{Role: RoleProvider, Minted: 1, RegisteredClaims: ours}), ErrBadSignature},
		{"no expiry", sign(jwt.SigningMethodEdDSA, s.key, claims{Role: RoleProvider, Minted: 1, RegisteredClaims: jwt.RegisteredClaims{Issuer: issuer}}), ErrMalformed},
		{"another issuer", sign(jwt.SigningMethodEdDSA, s.key, claims{Role: RoleProvider, Minted: 1, RegisteredClaims: jwt.RegisteredClaims{Issuer: "x", ExpiresAt: exp}}), ErrMalformed},
		{"unknown role", sign(jwt.SigningMethodEdDSA, s.key, claims{Role: "king", Minted: 1, RegisteredClaims: ours}), ErrMalformed},
		{"function without name", sign(jwt.SigningMethodEdDSA, s.key, claims{Role: RoleFunction, Minted: 1, RegisteredClaims: ours}), ErrMalformed},
		{"never minted", sign(jwt.SigningMethodEdDSA, s.key, claims{Role: RoleProvider, RegisteredClaims: ours}), ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := v.Verify(tt.raw); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	if len(v.known) != 0 {
		t.Errorf("%d bad tokens are remembered", len(v.known))
	}
}

func TestFromHeader(t *testing.T) {
	for value, want := range map[string]string{"Bearer abc": "abc", "bearer  abc ": "abc", "": "", "Bearer": "", "Bearer ": "", "Basic abc": "", "abc": ""} {
		got, err := FromHeader(value)
		if got != want || (want == "") != errors.Is(err, ErrMissing) {
			t.Errorf("FromHeader(%q) = %q, %v", value, got, err)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	_, v, c := pair(t)
	for i := range maxCached + 100 {
		v.remember(strings.Repeat("x", i), Identity{Expires: c.now().Add(time.Hour)})
	}
	if n := len(v.known); n > maxCached {
		t.Errorf("%d tokens are remembered, at most %d should be", n, maxCached)
	}
	c.add(2 * time.Hour)
	for i := range maxCached {
		v.remember("y"+strings.Repeat("x", i), Identity{Expires: c.now().Add(time.Hour)})
	}
	for raw := range v.known {
		if !strings.HasPrefix(raw, "y") {
			t.Fatal("an expired token is still there in place of a good one")
		}
	}
}

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := GenerateKeys(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for name, mode := range map[string]os.FileMode{KeyFile: 0o600, PublicFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), mode)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("the folder has %d entries, want 2", len(entries))
	}
	key, err := LoadPrivate(filepath.Join(dir, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := LoadPublic(filepath.Join(dir, PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	raw, _, err := NewSigner(key, time.Now).Provider(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewVerifier(pub, time.Now).Verify(raw); err != nil {
		t.Errorf("the two files are no pair: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, PublicFile)); err != nil {
		t.Fatal(err)
	}
	if err := GenerateKeys(dir); err != nil {
		t.Fatal(err)
	}
	if again, err := LoadPublic(filepath.Join(dir, PublicFile)); err != nil || !again.Equal(pub) {
		t.Errorf("the public key was not made again: %v", err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), KeyFile)
	for _, content := range []string{"", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPrivate(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("private key %q: %v", content, err)
		}
		if _, err := LoadPublic(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("public key %q: %v", content, err)
		}
	}
	if err := GenerateKeys(filepath.Dir(path)); err == nil {
		t.Error("a broken private key was accepted or replaced")
	}
}

func FuzzVerify(f *testing.F) {
	s, v, _ := pair(f)
	good, _, _ := s.Function(digits, Life)
	f.Add(good)
	f.Add("a.b.c")
	f.Add("")
	f.Fuzz(func(t *testing.T, raw string) {
		if id, err := v.Verify(raw); err == nil && (raw != good || id.Function != digits) {
			t.Errorf("%q is accepted as %+v", raw, id)
		}
	})
}

func BenchmarkVerifyRemembered(b *testing.B) {
	s, v, _ := pair(b)
	raw, _, _ := s.Function(digits, Life)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(raw); err != nil {
			b.Fatal(err)
		}
	}
}

package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/internal/durable"
)

// Names of the key files in their folder.
const (
	KeyFile    = "token.key" // private, PEM of PKCS #8, mode 0600
	PublicFile = "token.pub" // public, PEM of PKIX, mode 0644
)

// GenerateKeys makes the pair of keys in dir, which is created if it is missing.
// A private key that is there already is kept, so that two starts at once end up
// with the same pair; the public one is written to match it.
func GenerateKeys(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make key folder: %w", err)
	}
	path := filepath.Join(dir, KeyFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createKey(path); err != nil {
			return fmt.Errorf("make token key: %w", err)
		}
	}
	key, err := LoadPrivate(path)
	if err != nil {
		return err
	}
	if err := writePublic(filepath.Join(dir, PublicFile), key.Public().(ed25519.PublicKey)); err != nil {
		return fmt.Errorf("write public token key: %w", err)
	}
	return nil
}

// createKey writes a new private key, unless one appears at path meanwhile.
func createKey(path string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	tmp, err := writeTemp(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	// Unlike a rename, a link never replaces what is there.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func writePublic(path string, key ed25519.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	tmp, err := writeTemp(path, text, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Rename(tmp, path)
}

// writeTemp writes a complete file beside path and returns its name.
func writeTemp(path string, content []byte, mode fs.FileMode) (string, error) {
	return durable.Temp(filepath.Dir(path), "."+filepath.Base(path)+".*", content, func(f *os.File) error { return f.Chmod(mode) })
}

// LoadPrivate reads the key of a Signer.
func LoadPrivate(path string) (ed25519.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("token key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("token key %s is a %T, not an Ed25519 key", path, parsed)
	}
	return key, nil
}

// LoadPublic reads the key of a Verifier.
func LoadPublic(path string) (ed25519.PublicKey, error) {
	der, err := readPEM(path, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("token key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("token key %s is a %T, not an Ed25519 key", path, parsed)
	}
	return key, nil
}

func readPEM(path, kind string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("token key %s is not a PEM file with a %s", path, kind)
	}
	return block.Bytes, nil
}

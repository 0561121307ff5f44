package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/openfaas/faas-provider/auth"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/internal/durable"
	"github.com/faas-gpu/faas-gpu/provider"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Names of the files that hold the credentials of the API.
const (
	UserFile     = "basic-auth-user"
	PasswordFile = "basic-auth-password"
)

// tokenLife is how long a token is good for.
const tokenLife = 24 * time.Hour

// Credentials reads the credentials from dir.
func Credentials(dir string) (*auth.BasicAuthCredentials, error) {
	c, err := (&auth.ReadBasicAuthFromDisk{SecretMountPath: dir}).Read()
	if err != nil {
		return nil, fmt.Errorf("basic auth: %w", err)
	}
	if c.User == "" || c.Password == "" {
		return nil, fmt.Errorf("basic auth: %s and %s in %s must not be empty", UserFile, PasswordFile, dir)
	}
	return c, nil
}

// GenerateCredentials reads the credentials from dir, and makes there what is
// missing: the user "admin" and a random password, readable by the owner only.
func GenerateCredentials(dir string) (*auth.BasicAuthCredentials, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("basic auth: %w", err)
	}
	for name, value := range map[string]string{UserFile: "admin", PasswordFile: rand.Text()} {
		if err := createFile(filepath.Join(dir, name), value); err != nil {
			return nil, fmt.Errorf("basic auth: %w", err)
		}
	}
	return Credentials(dir)
}

// createFile writes a file unless it exists; it is there whole or not at all.
func createFile(path, value string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	tmp, err := durable.Temp(filepath.Dir(path), filepath.Base(path)+".*.tmp", []byte(value+"\n"))
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Signer reads the key that signs tokens from dir, and makes it if there is none.
func Signer(dir string) (*token.Signer, error) {
	if err := token.GenerateKeys(dir); err != nil {
		return nil, err
	}
	key, err := token.LoadPrivate(filepath.Join(dir, token.KeyFile))
	if err != nil {
		return nil, err
	}
	return token.NewSigner(key, time.Now), nil
}

// FunctionTokens makes the tokens that a runtime gives to functions.
func FunctionTokens(s *token.Signer) runtime.TokenSource {
	return func(id runtime.ID, revision string) (runtime.Token, error) {
		raw, expires, err := s.Function(api.FunctionRef{Namespace: id.Namespace, Name: id.Name, UID: revision}, tokenLife)
		return runtime.Token{Value: []byte(raw), Expires: expires}, err
	}
}

// NodeClients makes clients of cache managers by their addresses: paths of Unix
// sockets, or URLs. Close closes what they hold open.
func NodeClients(addresses []string, s *token.Signer, log *slog.Logger) (clients map[string]provider.NodeClient, closeAll func(), err error) {
	own := &ownToken{signer: s, log: log}
	clients = make(map[string]provider.NodeClient, len(addresses))
	var made []*api.Client
	closeAll = func() {
		for _, c := range made {
			c.Close()
		}
	}
	for _, address := range addresses {
		c, err := api.NewClient(api.ClientConfig{Address: address, Token: own.get})
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("cache manager %q: %w", address, err)
		}
		made = append(made, c)
		clients[address] = c
	}
	return clients, closeAll, nil
}

// ownToken is the provider's token, renewed at half its life.
type ownToken struct {
	signer *token.Signer
	log    *slog.Logger

	mu    sync.Mutex
	raw   string
	renew time.Time
}

func (o *ownToken) get() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); !now.Before(o.renew) {
		raw, _, err := o.signer.Provider(tokenLife)
		if err != nil {
			o.log.Error("token not renewed", "error", err) // the old one is good for a while
			return o.raw
		}
		o.raw, o.renew = raw, now.Add(tokenLife/2)
	}
	return o.raw
}

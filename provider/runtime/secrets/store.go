// Package secrets keeps the secrets of functions as files, and copies those that
// a replica may see to a folder of its own.
package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/faas-gpu/faas-gpu/internal/durable"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// maxValue is how many bytes a secret may have.
const maxValue = 1 << 20

// newPrefix begins the names of files that are not yet whole. No secret's name
// does.
const newPrefix = ".new-"

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,252}$`)

func checkName(name string) error {
	switch {
	case name == runtime.TokenFile:
		return fmt.Errorf("%w: the secret name %s is taken by the platform; choose another", runtime.ErrInvalid, name)
	case !validName.MatchString(name):
		return fmt.Errorf("%w: the secret name %q; a name has up to 253 characters of a-z, 0-9, dot, underscore and hyphen, the first a letter or digit", runtime.ErrInvalid, name)
	}
	return nil
}

// Store holds the values of secrets, each as a file NAMESPACE/NAME of mode 0600.
type Store struct {
	dir            string
	checkNamespace func(string) error
}

// Open uses a folder, which is made if it is not there. checkNamespace returns an
// error, which is shown, for a namespace that does not exist.
func Open(dir string, checkNamespace func(string) error) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	// What writes that were cut short left.
	left, err := filepath.Glob(filepath.Join(dir, "*", newPrefix+"*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return &Store{dir: dir, checkNamespace: checkNamespace}, nil
}

// file is where a secret's value is kept.
func (s *Store) file(namespace, name string) (string, error) {
	if err := s.checkNamespace(namespace); err != nil {
		return "", fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, namespace, name), nil
}

// List returns names in order.
func (s *Store) List(namespace string) ([]string, error) {
	if err := s.checkNamespace(namespace); err != nil {
		return nil, fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, namespace))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Create keeps a new secret. ErrExists, ErrInvalid.
func (s *Store) Create(namespace, name string, value []byte) error {
	file, tmp, err := s.prepare(namespace, name, value)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	// A link, unlike a rename, does not replace.
	if err := os.Link(tmp, file); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("secret %s: %w", name, runtime.ErrExists)
	} else if err != nil {
		return err
	}
	return durable.Sync(filepath.Dir(file))
}

// Update replaces a secret's value. ErrNotFound, ErrInvalid.
func (s *Store) Update(namespace, name string, value []byte) error {
	file, tmp, err := s.prepare(namespace, name, value)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("secret %s: %w", name, runtime.ErrNotFound)
	}
	return durable.Rename(tmp, file)
}

// Delete forgets a secret. Replicas that have the value keep it. ErrNotFound.
func (s *Store) Delete(namespace, name string) error {
	file, err := s.file(namespace, name)
	if err != nil {
		return err
	}
	if err := os.Remove(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("secret %s: %w", name, runtime.ErrNotFound)
	} else if err != nil {
		return err
	}
	return durable.Sync(filepath.Dir(file))
}

// Forget removes all secrets of a namespace. Replicas that have the values keep
// them. ErrNotFound.
func (s *Store) Forget(namespace string) error {
	if err := s.checkNamespace(namespace); err != nil {
		return fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, namespace)); err != nil {
		return err
	}
	return durable.Sync(s.dir)
}

func (s *Store) prepare(namespace, name string, value []byte) (file, tmp string, err error) {
	file, err = s.file(namespace, name)
	if err != nil {
		return "", "", err
	}
	if len(value) > maxValue {
		return "", "", fmt.Errorf("%w: secret %s has %d bytes; at most %d are allowed", runtime.ErrInvalid, name, len(value), maxValue)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", "", err
	}
	tmp, err = writeNew(filepath.Dir(file), value, Reader{UID: -1, Mode: 0o600})
	return file, tmp, err
}

// Check is whether all secrets that a deployment names are there. ErrInvalid.
func (s *Store) Check(d *runtime.Deployment) error {
	for _, name := range d.Request.Secrets {
		file, err := s.file(d.ID.Namespace, name)
		if err != nil {
			return err
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w: there is no secret %s in namespace %s; create it first", runtime.ErrInvalid, name, d.ID.Namespace)
		}
	}
	return nil
}

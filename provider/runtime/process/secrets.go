package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// maxSecret is how many bytes a secret may have.
const maxSecret = 1 << 20

var secretName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,252}$`)

func checkSecretName(name string) error {
	switch {
	case name == runtime.TokenFile:
		return fmt.Errorf("%w: the secret name %s is taken by the platform; choose another", runtime.ErrInvalid, name)
	case !secretName.MatchString(name):
		return fmt.Errorf("%w: the secret name %q; a name has up to 253 characters of a-z, 0-9, dot, underscore and hyphen, the first a letter or digit", runtime.ErrInvalid, name)
	}
	return nil
}

// secretFile is where a secret's value is kept.
func (r *Runtime) secretFile(namespace, name string) (string, error) {
	if err := checkNamespace(namespace); err != nil {
		return "", fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	if err := checkSecretName(name); err != nil {
		return "", err
	}
	return r.journal.path("secrets", namespace, name), nil
}

// ListSecrets returns names in order.
func (r *Runtime) ListSecrets(_ context.Context, namespace string) ([]string, error) {
	if err := checkNamespace(namespace); err != nil {
		return nil, fmt.Errorf("%w: %w", runtime.ErrNotFound, err)
	}
	entries, err := os.ReadDir(r.journal.path("secrets", namespace))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (r *Runtime) CreateSecret(_ context.Context, namespace, name string, value []byte) error {
	file, tmp, err := r.prepareSecret(namespace, name, value)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	// A link, unlike a rename, does not replace.
	if err := os.Link(tmp, file); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("secret %s: %w", name, runtime.ErrExists)
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func (r *Runtime) UpdateSecret(_ context.Context, namespace, name string, value []byte) error {
	file, tmp, err := r.prepareSecret(namespace, name, value)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("secret %s: %w", name, runtime.ErrNotFound)
	}
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// DeleteSecret leaves the replicas that have the value alone.
func (r *Runtime) DeleteSecret(_ context.Context, namespace, name string) error {
	file, err := r.secretFile(namespace, name)
	if err != nil {
		return err
	}
	if err := os.Remove(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("secret %s: %w", name, runtime.ErrNotFound)
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func (r *Runtime) prepareSecret(namespace, name string, value []byte) (file, tmp string, err error) {
	file, err = r.secretFile(namespace, name)
	if err != nil {
		return "", "", err
	}
	if len(value) > maxSecret {
		return "", "", fmt.Errorf("%w: secret %s has %d bytes; at most %d are allowed", runtime.ErrInvalid, name, len(value), maxSecret)
	}
	tmp, err = r.journal.temp(value)
	return file, tmp, err
}

// checkSecrets is whether a deployment's secrets are all there.
func (r *Runtime) checkSecrets(d *runtime.Deployment) error {
	for _, name := range d.Request.Secrets {
		file, err := r.secretFile(d.ID.Namespace, name)
		if err != nil {
			return err
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w: there is no secret %s in namespace %s; create it first", runtime.ErrInvalid, name, d.ID.Namespace)
		}
	}
	return nil
}

// deliverSecrets copies the secrets that a deployment names to a folder.
func (r *Runtime) deliverSecrets(d *runtime.Deployment, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, name := range d.Request.Secrets {
		file, err := r.secretFile(d.ID.Namespace, name)
		if err != nil {
			return err
		}
		value, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no secret %s any more", name)
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o600); err != nil {
			return err
		}
	}
	return nil
}

package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

const refName = "org.opencontainers.image.ref.name"

// Store is a folder of images. Several programs may use one folder at the same
// time.
type Store struct {
	dir string
	// MaxBytes bounds what one image may unpack to, 16 GiB unless changed.
	MaxBytes int64
}

// Image is one image of a store.
type Image struct {
	Name   string // with its tag
	Digest string // of the manifest, "sha256:…"
	Config v1.Config
}

// Open opens the store at dir and makes it if it is not there.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, MaxBytes: 16 << 30}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for name, content := range map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"schemaVersion":2,"mediaType":"` + string(types.OCIImageIndex) + `","manifests":[]}`,
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			if err := writeFile(filepath.Join(dir, name), []byte(content)); err != nil {
				return nil, fmt.Errorf("image store: %w", err)
			}
		}
	}
	return s, nil
}

// Add stores img under a name, which no other image has from then on, and
// returns its digest. What was stored under the name before is removed if it has
// no other name. A reader sees either the old image or the new one.
func (s *Store) Add(name string, img v1.Image) (digest string, err error) {
	name, err = Normalize(name)
	if err != nil {
		return "", err
	}
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer unlock()
	descriptor, err := s.writeImage(img)
	if err != nil {
		return "", fmt.Errorf("store image %s: %w", name, err)
	}
	descriptor.Annotations = map[string]string{refName: name}
	index, err := s.index()
	if err != nil {
		return "", err
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Annotations[refName] == name })
	index.Manifests = append(index.Manifests, descriptor)
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(s.dir, "index.json"), data); err != nil {
		return "", fmt.Errorf("store image %s: %w", name, err)
	}
	return descriptor.Digest.String(), s.prune(index)
}

// Resolve finds an image by its name. ErrNotFound names those that are there;
// ErrBad.
func (s *Store) Resolve(name string) (Image, error) {
	name, err := Normalize(name)
	if err != nil {
		return Image{}, err
	}
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	index, err := s.index()
	if err != nil {
		return Image{}, err
	}
	var built []string
	for _, d := range index.Manifests {
		if d.Annotations[refName] != name {
			built = append(built, d.Annotations[refName])
			continue
		}
		img, err := s.open(d.Digest)
		if err != nil {
			return Image{}, fmt.Errorf("image %s: %w", name, err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			return Image{}, fmt.Errorf("%w %s: %w", ErrBad, name, err)
		}
		return Image{Name: name, Digest: d.Digest.String(), Config: config.Config}, nil
	}
	return Image{}, fmt.Errorf("%w: no image %s; built images: %s", ErrNotFound, name, list(built))
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	const most = 20
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

func (s *Store) index() (*v1.IndexManifest, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, "index.json"))
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("image store: %s: %w", filepath.Join(s.dir, "index.json"), err)
	}
	return index, nil
}

// open reads an image whose manifest and configuration are what their digests
// promise. Its layers are checked when they are unpacked.
func (s *Store) open(digest v1.Hash) (v1.Image, error) {
	img, err := layout.Path(s.dir).Image(digest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBad, err)
	}
	raw, err := img.RawManifest()
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrBad, err)
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != digest {
		return nil, fmt.Errorf("%w: the manifest %s has other content", ErrBad, digest)
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrBad, err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("%w: configuration: %w", ErrBad, err)
	}
	if got, _, err := v1.SHA256(bytes.NewReader(config)); err != nil || got != manifest.Config.Digest {
		return nil, fmt.Errorf("%w: the configuration %s has other content", ErrBad, manifest.Config.Digest)
	}
	return img, nil
}

// lock keeps other programs from changing the store (unix.LOCK_SH) or from using
// it at all (unix.LOCK_EX).
func (s *Store) lock(how int) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("image store: lock: %w", err)
	}
	return func() { f.Close() }, nil
}

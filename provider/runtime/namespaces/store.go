package namespaces

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/faas-gpu/faas-gpu/internal/durable"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// CheckName is whether a namespace may be called so. ErrInvalid.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%w: the namespace %q; its name has up to 63 characters of a-z, 0-9 and hyphen, the first and last no hyphen", runtime.ErrInvalid, name)
	}
	return nil
}

const suffix = ".json"

// store keeps each namespace as a file NAME.json. Reading it takes no file; one
// change is made at a time.
type store struct {
	dir string

	mu  sync.Mutex // guards all; held for a look-up only
	all map[string]runtime.Namespace
}

// openStore uses a folder, which is made if it is not there. A file that cannot be
// read is put aside and logged: its namespace has no labels then, and is there as
// long as it has functions.
func openStore(dir string, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &store{dir: dir, all: map[string]runtime.Namespace{
		runtime.DefaultNamespace: {Name: runtime.DefaultNamespace},
	}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			if strings.HasPrefix(e.Name(), newPrefix) { // a write was cut short
				err = errors.Join(err, os.Remove(file))
			}
			continue
		}
		n, bad := read(file, name)
		if bad != nil {
			log.Error("the record of a namespace cannot be read and is put aside", "file", file+".bad", "err", bad)
			err = errors.Join(err, os.Rename(file, file+".bad"))
			continue
		}
		s.all[name] = n
	}
	return s, err
}

func read(file, name string) (n runtime.Namespace, err error) {
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err == nil && n.Name != name {
		err = errors.New("it is the record of another namespace")
	}
	return n, errors.Join(err, CheckName(name))
}

// check is whether there is such a namespace.
func (s *store) check(name string) error {
	s.mu.Lock()
	_, ok := s.all[name]
	s.mu.Unlock()
	if ok {
		return nil
	}
	var names []string
	for _, n := range s.list() {
		names = append(names, n.Name)
	}
	return fmt.Errorf("there is no namespace %q; there is %s", name, strings.Join(names, ", "))
}

// list returns the default one and then the others by name. Their labels and
// annotations are not to be changed.
func (s *store) list() []runtime.Namespace {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.all))
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b runtime.Namespace) int {
		switch runtime.DefaultNamespace {
		case a.Name:
			return -1
		case b.Name:
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return all
}

// newPrefix begins the names of files that are not yet whole.
const newPrefix = ".new-"

// save keeps a namespace, for good, or does nothing.
func (s *store) save(n runtime.Namespace) error {
	n.Labels, n.Annotations = maps.Clone(n.Labels), maps.Clone(n.Annotations)
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := durable.Temp(s.dir, newPrefix+"*", data)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(s.dir, n.Name+suffix)); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	s.mu.Lock()
	s.all[n.Name] = n
	s.mu.Unlock()
	return durable.Sync(s.dir)
}

// remove forgets a namespace.
func (s *store) remove(name string) error {
	if err := os.Remove(filepath.Join(s.dir, name+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	delete(s.all, name)
	s.mu.Unlock()
	return durable.Sync(s.dir)
}

// Package models reads a function's model folder:
//
//	models/NAME/VERSION/model.onnx    or model.plan
//	models/NAME/model.yaml            optional, see api.ModelConfig
//	models/digests.json               optional, written when the image is built
//
// The watchdog reads it to offer the models, a builder to check them and to
// write their digests.
package models

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// formats are the names that a model file may have, with what is in it.
var formats = map[string]string{"model.onnx": "onnx", "model.plan": "plan"}

const (
	configName  = "model.yaml"
	digestsName = "digests.json"
)

// Model is one version of one model.
type Model struct {
	// Offer is complete but for Digest, Preload and Pin.
	Offer api.Offer
	Path  string // of the file
	// Relative is Path inside the folder, with slashes.
	Relative string
}

// Folder is what was found.
type Folder struct {
	Dir    string
	Models []Model // by name, then version
	// Problems name what makes a model unusable, Warnings what was ignored.
	Problems []error
	Warnings []string
}

// Read reads a model folder. A folder that does not exist is one without
// models.
func Read(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	for _, e := range entries {
		switch {
		case hidden(e) || e.Name() == digestsName:
		case !isDir(filepath.Join(dir, e.Name())):
			f.warn("%s is ignored: a model is a folder, NAME/VERSION/model.onnx", e.Name())
		default:
			f.readModel(e.Name())
		}
	}
	return f, nil
}

// Names are the names of the models, each once.
func (f *Folder) Names() []string {
	var names []string
	for _, m := range f.Models {
		if len(names) == 0 || names[len(names)-1] != m.Offer.Name {
			names = append(names, m.Offer.Name)
		}
	}
	return names
}

// Err is nil if the folder has no problems.
func (f *Folder) Err() error { return errors.Join(f.Problems...) }

func (f *Folder) fail(format string, args ...any) {
	f.Problems = append(f.Problems, fmt.Errorf("models/"+format, args...))
}

func (f *Folder) warn(format string, args ...any) {
	f.Warnings = append(f.Warnings, fmt.Sprintf("models/"+format, args...))
}

func (f *Folder) readModel(name string) {
	if !validName(name) {
		f.fail("%s: a model's name has letters, digits, '.', '_' and '-', at most 128", name)
		return
	}
	entries, err := os.ReadDir(filepath.Join(f.Dir, name))
	if err != nil {
		f.fail("%s: %w", name, err)
		return
	}
	config, err := readConfig(filepath.Join(f.Dir, name, configName))
	if err != nil {
		f.fail("%s/%s: %w", name, configName, err)
		return
	}
	found := false
	for _, e := range entries {
		switch path := name + "/" + e.Name(); {
		case hidden(e) || e.Name() == configName:
		case e.Name() == "config.pbtxt":
			f.warn("%s is ignored: the model file says its inputs and outputs; put what else is needed into %s", path, configName)
		case isDir(filepath.Join(f.Dir, path)):
			found = true
			f.readVersion(name, e.Name(), config)
		case formats[e.Name()] != "":
			found = true
			if isVersion(name) {
				f.fail("%s: has no name; move it to models/NAME/%s", path, path)
			} else {
				f.fail("%s: has no version; move it to models/%s/1/%s", path, name, e.Name())
			}
		}
	}
	if !found {
		f.fail("%s: has no version; put the model at models/%s/1/model.onnx", name, name)
	}
}

func (f *Folder) readVersion(name, version string, config api.ModelConfig) {
	dir := name + "/" + version
	if !isVersion(version) {
		f.fail("%s: a version is a number from 1, without zeros before it", dir)
		return
	}
	entries, err := os.ReadDir(filepath.Join(f.Dir, dir))
	if err != nil {
		f.fail("%s: %w", dir, err)
		return
	}
	var file, misnamed string
	for _, e := range entries {
		switch {
		case hidden(e):
		case formats[e.Name()] == "":
			if formats["model"+filepath.Ext(e.Name())] != "" {
				misnamed = e.Name()
			}
			f.warn("%s/%s is ignored: a model is one file, its data in it", dir, e.Name())
		case file != "":
			f.fail("%s: has both %s and %s; keep one", dir, file, e.Name())
			return
		default:
			file = e.Name()
		}
	}
	switch {
	case file == "" && misnamed != "":
		f.fail("%s/%s: is not named model%s; rename it", dir, misnamed, filepath.Ext(misnamed))
		return
	case file == "":
		f.fail("%s: has neither model.onnx nor model.plan", dir)
		return
	}
	size, err := checkFile(filepath.Join(f.Dir, dir, file))
	if err != nil {
		f.fail("%s/%s: %w", dir, file, err)
		return
	}
	f.Models = append(f.Models, Model{
		Offer: api.Offer{
			Name: name, Version: version, Format: formats[file], Size: size, Config: config,
		},
		Path:     filepath.Join(f.Dir, dir, file),
		Relative: dir + "/" + file,
	})
}

func isVersion(name string) bool {
	n, err := strconv.ParseUint(name, 10, 31)
	return err == nil && n > 0 && name[0] != '0'
}

// checkFile makes sure that a model can be read.
func checkFile(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, errors.New("is not a file")
	case info.Size() == 0:
		return 0, errors.New("is empty")
	}
	return info.Size(), nil
}

func hidden(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }

// isDir follows links: image builders and volumes make them.
func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// validName reports whether a name can stand in a URL's path as it is.
func validName(name string) bool {
	if len(name) > 128 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Package static is of-watchdog's mode static: a folder of files, and no program.
package static

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"syscall"
)

// Handler serves a folder.
type Handler struct {
	root  *os.Root
	files http.Handler
}

// New makes a handler of the folder at a path, out of which no link leads.
func New(path string) (*Handler, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("static_path: %w", err)
	}
	return &Handler{root: root, files: http.FileServerFS(folder{root.FS()})}, nil
}

// folder has no file of a name that can be none here: one that a link leads out of
// it, or that no file can have. The client chose it: it is no failure of the server.
type folder struct{ fs.FS }

// Open implements fs.FS.
func (f folder) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err == nil || errors.Is(err, fs.ErrPermission) {
		return file, err
	}
	switch errno, system := errors.AsType[syscall.Errno](err); {
	case !system, errno == syscall.ENAMETOOLONG, errno == syscall.EINVAL, errno == syscall.ELOOP, errno == syscall.ENOTDIR:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return nil, err
}

// Close lets go of the folder.
func (h *Handler) Close() { h.root.Close() }

// ServeHTTP answers with a file, the index.html of a folder, or a list of what is
// in it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "files answer GET and HEAD only", http.StatusMethodNotAllowed)
		return
	}
	h.files.ServeHTTP(w, r)
}

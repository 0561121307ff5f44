// Package static is of-watchdog's mode static: a folder of files, and no program.
package static

import (
	"fmt"
	"net/http"
	"os"
)

// Handler serves a folder.
type Handler struct {
	root  *os.Root
	files http.Handler
}

// New makes a handler of a folder, out of which no link leads.
func New(folder string) (*Handler, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("static_path: %w", err)
	}
	return &Handler{root: root, files: http.FileServerFS(root.FS())}, nil
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

package static

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	pages := filepath.Join(dir, "pages")
	if err := os.MkdirAll(filepath.Join(pages, "list"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"secret": "secret", "pages/index.html": "<p>start", "pages/list/a.txt": "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(pages, "link")); err != nil {
		t.Fatal(err)
	}
	h, err := New(pages)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, tc := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/", 200, "<p>start"},
		{"GET", "/list/a.txt", 200, "a"},
		{"HEAD", "/list/a.txt", 200, ""},
		{"GET", "/list/", 200, "a.txt"},
		{"GET", "/list", 301, ""},
		{"GET", "/absent", 404, ""},
		{"GET", "/../secret", 404, ""},
		{"GET", "/link", 404, ""},
		{"GET", "/list/a.txt/b", 404, ""},
		{"GET", "/" + strings.Repeat("a", 300), 404, ""},
		{"GET", "/\x00", 404, ""},
		{"POST", "/", 405, "GET and HEAD"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tc.method, "/", nil)
		r.URL.Path = tc.path
		h.ServeHTTP(w, r)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s %s: %d %q", tc.method, tc.path, w.Code, w.Body)
		}
		if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: allowed is %q", tc.method, w.Header().Get("Allow"))
		}
	}
}

func TestFolderMustBeThere(t *testing.T) {
	if _, err := New("/nonexistent/folder"); err == nil || !strings.Contains(err.Error(), "static_path") {
		t.Errorf("got %v", err)
	}
}

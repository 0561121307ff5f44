package image

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNormalize(t *testing.T) {
	for name, want := range map[string]string{
		"digits":                  "digits:latest",
		"digits:0.1":              "digits:0.1",
		"localhost:5000/a/digits": "localhost:5000/a/digits:latest",
		"localhost:5000/digits:2": "localhost:5000/digits:2",
		"digits@sha256:00":        "digits@sha256:00",
		"":                        "",
		"a b":                     "",
		"a\x00":                   "",
		"a:":                      "",
		":a":                      "",
		"a/:b":                    "",
		"a:b:c":                   "",
		"ä":                       "",
		strings.Repeat("a", 256):  "",
	} {
		got, err := Normalize(name)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("Normalize(%q) = %q, %v; want %q", name, got, err, want)
		}
		if err != nil && !errors.Is(err, ErrBad) {
			t.Errorf("Normalize(%q): %v is not ErrBad", name, err)
		}
	}
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func build(t *testing.T, config v1.Config, files ...File) v1.Image {
	t.Helper()
	img, err := Build(config, files...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func add(t *testing.T, s *Store, name string, img v1.Image) string {
	t.Helper()
	digest, err := s.Add(name, img)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func unpack(t *testing.T, s *Store, digest string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := s.Unpack(digest, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func blobs(t *testing.T, s *Store) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestBuildAddResolveUnpack(t *testing.T) {
	s := open(t)
	source := filepath.Join(t.TempDir(), "model")
	if err := os.WriteFile(source, bytes.Repeat([]byte("weights"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	config := v1.Config{
		Entrypoint: []string{"/app/handler"}, Cmd: []string{"-x"}, WorkingDir: "/app",
		Env: []string{"a=b=c"}, Labels: map[string]string{"l": "v"},
	}
	files := []File{
		{Path: "/app/handler", Mode: 0o755, Data: []byte("#!")},
		{Path: "app/models/m/1/model.onnx", Mode: 0o640, Source: source},
	}
	digest := add(t, s, "digits", build(t, config, files...))
	if again := add(t, s, "other:1", build(t, config, files...)); again != digest {
		t.Errorf("the same files gave %s and %s", digest, again)
	}
	reopened, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	img, err := reopened.Resolve("digits")
	if err != nil {
		t.Fatal(err)
	}
	if img.Name != "digits:latest" || img.Digest != digest || img.Config.WorkingDir != "/app" ||
		img.Config.Entrypoint[0] != "/app/handler" || img.Config.Cmd[0] != "-x" ||
		img.Config.Env[0] != "a=b=c" || img.Config.Labels["l"] != "v" {
		t.Errorf("resolved to %+v", img)
	}
	root := unpack(t, s, digest)
	for name, mode := range map[string]fs.FileMode{"app/handler": 0o755, "app/models/m/1/model.onnx": 0o640} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want mode %v", name, info, err, mode)
		}
	}
	got, err := os.ReadFile(filepath.Join(root, "app/models/m/1/model.onnx"))
	if err != nil || len(got) != 700_000 {
		t.Errorf("the model has %d bytes, %v", len(got), err)
	}
}

func TestBuildReportsUnreadableFile(t *testing.T) {
	for _, f := range []File{{Path: "a", Source: "/nonexistent"}, {Path: "/"}, {Path: "../.."}} {
		s := open(t)
		if _, err := s.Add("x", build(t, v1.Config{}, f)); err == nil {
			t.Errorf("%+v was added", f)
		}
		if n := blobs(t, s); n != 0 {
			t.Errorf("%d blobs after a failed build", n)
		}
	}
}

func TestAddReplacesAndPrunes(t *testing.T) {
	s := open(t)
	first := add(t, s, "x", build(t, v1.Config{}, File{Path: "a", Data: []byte("1")}))
	add(t, s, "keep", build(t, v1.Config{}, File{Path: "a", Data: []byte("keep")}))
	second := add(t, s, "x:latest", build(t, v1.Config{}, File{Path: "a", Data: []byte("2")}))
	if first == second {
		t.Fatal("different files have one digest")
	}
	if img, err := s.Resolve("x"); err != nil || img.Digest != second {
		t.Errorf("resolved to %v, %v; want %s", img.Digest, err, second)
	}
	if n := blobs(t, s); n != 6 {
		t.Errorf("%d blobs for two images, want 6", n)
	}
	if err := s.Unpack(first, filepath.Join(t.TempDir(), "r")); !errors.Is(err, ErrNotFound) {
		t.Errorf("unpacking the replaced image: %v, want ErrNotFound", err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, tempPrefix+"*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestResolveNamesWhatIsThere(t *testing.T) {
	s := open(t)
	if _, err := s.Resolve("x"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "no image x:latest; built images: none") {
		t.Errorf("in an empty store: %v", err)
	}
	add(t, s, "b", build(t, v1.Config{}))
	add(t, s, "a:2", build(t, v1.Config{}, File{Path: "a"}))
	if _, err := s.Resolve("x"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "built images: a:2, b:latest") {
		t.Errorf("in a store of two: %v", err)
	}
	if _, err := s.Resolve("x y"); !errors.Is(err, ErrBad) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestConcurrentBuilds(t *testing.T) {
	s := open(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := string(rune('a' + i))
			other, err := Open(s.dir)
			if err != nil {
				t.Error(err)
				return
			}
			img, err := Build(v1.Config{}, File{Path: "same", Data: []byte("same")}, File{Path: name, Data: []byte(name)})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := other.Add(name, img); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 8 {
		img, err := s.Resolve(string(rune('a' + i)))
		if err != nil {
			t.Fatal(err)
		}
		unpack(t, s, img.Digest)
	}
}

package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layer is an archive of entries, each "kind name[ more]": "d folder",
// "f file content", "l link target", "h hardlink target", and "c device".
func layer(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		field := strings.SplitN(e, " ", 3)
		h := &tar.Header{Name: field[1], Mode: 0o755}
		content := ""
		switch field[0] {
		case "d":
			h.Typeflag = tar.TypeDir
		case "f":
			h.Typeflag, content = tar.TypeReg, field[2]
			h.Size = int64(len(content))
		case "l":
			h.Typeflag, h.Linkname = tar.TypeSymlink, field[2]
		case "h":
			h.Typeflag, h.Linkname = tar.TypeLink, field[2]
		case "c":
			h.Typeflag = tar.TypeChar
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// applyAll unpacks layers to dir.
func applyAll(t testing.TB, dir string, layers ...[]byte) error {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := &unpacker{root: root, bytes: 1 << 20, entries: 1000}
	for _, l := range layers {
		if err := u.apply(bytes.NewReader(l)); err != nil {
			return err
		}
	}
	return nil
}

// tree describes what is below dir, sorted.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		switch {
		case e.IsDir():
			found = append(found, rel+"/")
		case e.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(name)
			found = append(found, rel+"->"+target)
		default:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			found = append(found, rel+"="+string(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLayers(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]byte
		want   []string
	}{
		{"parents are made", [][]byte{layer(t, "f a/b/c 1")}, []string{"a/", "a/b/", "a/b/c=1"}},
		{"names from the root", [][]byte{layer(t, "d /a", "f ./a/b 1", "f //c 2", "d .")}, []string{"a/", "a/b=1", "c=2"}},
		{"a later layer wins", [][]byte{layer(t, "f a 1"), layer(t, "f a 2")}, []string{"a=2"}},
		{"a file replaces a folder", [][]byte{layer(t, "f a/b 1"), layer(t, "f a 2")}, []string{"a=2"}},
		{"a folder replaces a file", [][]byte{layer(t, "f a 1"), layer(t, "d a", "f a/b 2")}, []string{"a/", "a/b=2"}},
		{"a folder replaces a link", [][]byte{layer(t, "d b", "l a b"), layer(t, "d a", "f a/c 2")}, []string{"a/", "a/c=2", "b/"}},
		{"whiteout of a file", [][]byte{layer(t, "f a 1", "f b 1"), layer(t, "f .wh.a ")}, []string{"b=1"}},
		{"whiteout of a folder", [][]byte{layer(t, "f d/a/x 1", "f d/b 1"), layer(t, "f d/.wh.a ")}, []string{"d/", "d/b=1"}},
		{"whiteout of nothing", [][]byte{layer(t, "f .wh.a ")}, nil},
		{"opaque folder", [][]byte{layer(t, "f d/a 1", "f d/s/a 1"), layer(t, "f d/b 2", "f d/s/b 2", "f d/.wh..wh..opq ", "f d/c 2")},
			[]string{"d/", "d/b=2", "d/c=2", "d/s/", "d/s/b=2"}},
		{"relative link", [][]byte{layer(t, "f d/a 1", "l d/l a", "l d/m ../d/a")}, []string{"d/", "d/a=1", "d/l->a", "d/m->a"}},
		{"absolute link means the image", [][]byte{layer(t, "f usr/bin/sh 1", "l bin /usr/bin", "l x/y/sh /usr/bin/sh")},
			[]string{"bin->usr/bin", "usr/", "usr/bin/", "usr/bin/sh=1", "x/", "x/y/", "x/y/sh->../../usr/bin/sh"}},
		{"a file through a link", [][]byte{layer(t, "d usr/lib", "l lib usr/lib"), layer(t, "f lib/a 1")}, []string{"lib->usr/lib", "usr/", "usr/lib/", "usr/lib/a=1"}},
		{"a link in a linked folder", [][]byte{layer(t, "d a/b/c", "l d a/b/c", "l d/up ../../../../../x")},
			[]string{"a/", "a/b/", "a/b/c/", "a/b/c/up->../../../x", "d->a/b/c"}},
		{"a link above the root stops there", [][]byte{layer(t, "l a ../../../etc/passwd", "l b /../../x", "l c ..")}, []string{"a->etc/passwd", "b->x", "c->."}},
		{"a link to itself and a dangling one", [][]byte{layer(t, "l a a", "l b nothing")}, []string{"a->a", "b->nothing"}},
		{"hard link", [][]byte{layer(t, "f d/a 1", "h b d/a", "h b b")}, []string{"b=1", "d/", "d/a=1"}},
		{"devices are left out", [][]byte{layer(t, "c dev/null", "f a 1")}, []string{"a=1", "dev/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := applyAll(t, dir, c.layers...); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, dir); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestPermissions(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeReg, Name: "setuid", Mode: 0o4755},
		{Typeflag: tar.TypeReg, Name: "readonly", Mode: 0o444},
		{Typeflag: tar.TypeDir, Name: "closed", Mode: 0o555},
		{Typeflag: tar.TypeReg, Name: "closed/in", Mode: 0o777},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := applyAll(t, dir, b.Bytes()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"setuid": 0o755, "readonly": 0o444, "closed": fs.ModeDir | 0o755, "closed/in": 0o777,
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestHostileLayers(t *testing.T) {
	long := layer(t, "f a "+strings.Repeat("x", 2000))
	for _, c := range []struct {
		name  string
		layer []byte
		want  string // in the error
	}{
		{"climbs", layer(t, "f ../outside 1"), "leaves the image"},
		{"climbs from below", layer(t, "f a/../../outside 1"), "leaves the image"},
		{"hard link to outside", layer(t, "h a ../outside"), "leaves the image"},
		{"hard link to a link", layer(t, "l a /x", "h b a"), "is no file"},
		{"hard link to a folder", layer(t, "d a", "h b a"), "is no file"},
		{"hard link to nothing", layer(t, "h b a"), "no such file"},
		{"whiteout of the parent", layer(t, "f a/.wh... 1"), "whiteout without a name"},
		{"whiteout of the folder", layer(t, "f a/.wh.. 1"), "whiteout without a name"},
		{"whiteout of no name", layer(t, "f a/.wh. 1"), "whiteout without a name"},
		{"a file as a folder", layer(t, "f a 1", "f a/b 1"), "not a folder"},
		{"links in a circle", layer(t, "l a b", "l b a", "f a/x 1"), "too many symbolic links"},
		{"truncated", long[:1500], "unexpected EOF"},
		{"no archive", bytes.Repeat([]byte{'x'}, 1024), "invalid tar header"},
		{"too large", layer(t, "f a "+strings.Repeat("x", 1<<20), "f b 1"), "larger than an image may be"},
		{"too many", layer(t, slices.Repeat([]string{"d a"}, 1001)...), "more files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			around := t.TempDir()
			dir := filepath.Join(around, "root")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			err := applyAll(t, dir, c.layer)
			if !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrBad with %q", err, c.want)
			}
			contained(t, around, dir)
		})
	}
}

// contained checks that nothing is beside dir in around, and that no symbolic
// link below dir leads out of it.
func contained(t testing.TB, around, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(around); err != nil || len(entries) != 1 {
		t.Errorf("outside of the image: %v, %v", entries, err)
	}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink == 0 {
			return err
		}
		// EvalSymlinks fails for links that dangle or go in circles; where the
		// link itself points is told by its text, from its real folder.
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		if to := filepath.Join(filepath.Dir(name), target); filepath.IsAbs(target) || to != dir && !strings.HasPrefix(to, dir+"/") {
			return fmt.Errorf("%s leads to %s", name, target)
		}
		if to, err := filepath.EvalSymlinks(name); err == nil && to != dir && !strings.HasPrefix(to, dir+"/") {
			return fmt.Errorf("%s leads to %s", name, to)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRandomLayers unpacks archives of few names that link to, hide and replace
// each other in every way.
func TestRandomLayers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	name := func(parts ...string) string {
		list := []string{}
		for range 1 + random.IntN(4) {
			list = append(list, parts[random.IntN(len(parts))])
		}
		return strings.Join(list, "/")
	}
	for range 100 {
		around := t.TempDir()
		dir := filepath.Join(around, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for range 12 { // entries that are refused do not end the attack
			file, target := name("a", "b", "c"), name("a", "b", "..", "..", "", "c")
			entry := [...]string{"d " + file, "f " + file + " x", "l " + file + " /" + target, "l " + file + " ../" + target,
				"h " + file + " " + name("a", "b", ".."), "f " + file + "/.wh.a x", "f " + file + "/.wh..wh..opq x"}[random.IntN(7)]
			if err := applyAll(t, dir, layer(t, entry)); err != nil && !errors.Is(err, ErrBad) {
				t.Fatalf("seed %d: %s: %v is not ErrBad", seed, entry, err)
			}
			contained(t, around, dir)
			if t.Failed() {
				t.Fatalf("seed %d: after %s: %q", seed, entry, tree(t, dir))
			}
		}
	}
}

// FuzzApply unpacks any bytes: it must end, write nothing outside, and leave no
// link that leads outside.
func FuzzApply(f *testing.F) {
	f.Add(layer(f, "f a/b 1", "l c /a", "h d a/b"), layer(f, "f a/.wh..wh..opq ", "f c/x 1", "f .wh.d "))
	f.Add(layer(f, "l a ..", "l a/b ../..", "f a/b/c 1"), layer(f, "d a", "l a/x /"))
	f.Add(layer(f, "d p/q", "l d p/q", "l d/u ../../../..", "l u d/u", "f u/x 1"), []byte("x"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		around := t.TempDir()
		dir := filepath.Join(around, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := applyAll(t, dir, first, second); err != nil && !errors.Is(err, ErrBad) {
			t.Errorf("%v is not ErrBad", err)
		}
		contained(t, around, dir)
	})
}

package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder makes a model folder of paths and contents.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "/") {
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustRead(t testing.TB, dir string) *Folder {
	t.Helper()
	f, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return "sha256:" + hex.EncodeToString(s[:])
}

func TestGoodFolder(t *testing.T) {
	dir := folder(t, map[string]string{
		"digits/1/model.onnx":  "one",
		"digits/10/model.onnx": "ten",
		"digits/model.yaml":    "slo: 80ms\naccuracy: 0.98\nprecisions: [fp16, fp32]\nmax_batch: 8\nfallback: wait\n",
		"digits/labels.txt":    "kept for the handler",
		"resnet/2/model.plan":  "native",
		".git/config":          "x",
	})
	f := mustRead(t, dir)
	if err := f.Err(); err != nil || len(f.Warnings) != 0 {
		t.Fatalf("problems %v, warnings %q", err, f.Warnings)
	}
	var got []string
	for _, m := range f.Models {
		got = append(got, m.Relative+"="+m.Offer.Format)
	}
	if s := strings.Join(got, " "); s != "digits/1/model.onnx=onnx digits/10/model.onnx=onnx resnet/2/model.plan=plan" {
		t.Errorf("models are %s", s)
	}
	c := f.Models[0].Offer.Config
	if c.SLO != "80ms" || c.Accuracy != 0.98 || c.MaxBatch != 8 || c.Fallback != "wait" || len(c.Precisions) != 2 {
		t.Errorf("config is %+v", c)
	}
	if s := strings.Join(f.Names(), " "); s != "digits resnet" {
		t.Errorf("names are %s", s)
	}
}

func TestNoFolderIsNoModels(t *testing.T) {
	f := mustRead(t, filepath.Join(t.TempDir(), "models"))
	if len(f.Models) != 0 || f.Err() != nil {
		t.Errorf("found %+v", f)
	}
}

func TestProblemsAndWarnings(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
		warn  bool
	}{
		{"no version", map[string]string{"a/": ""}, "models/a: has no version", false},
		{"file without version", map[string]string{"a/model.onnx": "x"}, "move it to models/a/1/model.onnx", false},
		{"file without name", map[string]string{"1/model.onnx": "x"}, "models/1/model.onnx: has no name; move it to models/NAME/1/model.onnx", false},
		{"misnamed file", map[string]string{"a/1/resnet.onnx": "x"}, "models/a/1/resnet.onnx: is not named model.onnx; rename it", false},
		{"word as version", map[string]string{"a/latest/model.onnx": "x"}, "models/a/latest: a version is a number", false},
		{"version 0", map[string]string{"a/0/model.onnx": "x"}, "models/a/0: a version is a number", false},
		{"zeros before", map[string]string{"a/01/model.onnx": "x"}, "models/a/01: a version is a number", false},
		{"no file", map[string]string{"a/1/": ""}, "models/a/1: has neither", false},
		{"empty file", map[string]string{"a/1/model.onnx": ""}, "models/a/1/model.onnx: is empty", false},
		{"two files", map[string]string{"a/1/model.onnx": "x", "a/1/model.plan": "x"}, "has both", false},
		{"folder as file", map[string]string{"a/1/model.onnx/x": "x"}, "models/a/1/model.onnx: is not a file", false},
		{"bad name", map[string]string{"a b/1/model.onnx": "x"}, "models/a b: a model's name", false},
		{"bad yaml", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "slo: ["}, "models/a/model.yaml:", false},
		{"unknown precision", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "precisions: [fp8]"}, "fp8", false},
		{"unknown field", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "sla: 1s"}, "field sla not found", false},
		{"bad slo", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "slo: fast"}, `slo: "fast" is not a duration`, false},
		{"bad accuracy", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "accuracy: 98"}, "accuracy: 98 is not between", false},
		{"NaN", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "accuracy: .nan"}, "accuracy: NaN is not between", false},
		{"bad fallback", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "fallback: gpu"}, "fallback:", false},
		{"bad batch", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": "max_batch: -1"}, "max_batch:", false},
		{"huge yaml", map[string]string{"a/1/model.onnx": "x", "a/model.yaml": strings.Repeat("#", maxConfig+1)}, "is larger than", false},
		{"config.pbtxt", map[string]string{"a/1/model.onnx": "x", "a/config.pbtxt": "x"}, "models/a/config.pbtxt is ignored", true},
		{"external data", map[string]string{"a/1/model.onnx": "x", "a/1/model.onnx.data": "x"}, "models/a/1/model.onnx.data is ignored", true},
		{"loose file", map[string]string{"model.onnx": "x"}, "models/model.onnx is ignored", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mustRead(t, folder(t, tc.files))
			got := strings.Join(f.Warnings, "\n")
			if !tc.warn {
				if f.Err() == nil {
					t.Fatalf("no problem was found: %+v", f)
				}
				got = f.Err().Error()
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("%q does not say %q", got, tc.want)
			}
		})
	}
}

func TestABadModelLeavesTheOthers(t *testing.T) {
	f := mustRead(t, folder(t, map[string]string{"bad/x/model.onnx": "x", "good/1/model.onnx": "y"}))
	if len(f.Problems) != 1 || len(f.Models) != 1 || f.Models[0].Offer.Name != "good" {
		t.Errorf("found %+v", f)
	}
}

func TestDigestsAtBuildTime(t *testing.T) {
	dir := folder(t, map[string]string{"a/1/model.onnx": "content"})
	if _, err := WriteDigests(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	f := mustRead(t, dir)
	f.Digests(context.Background(), cache)
	if f.Models[0].Offer.Digest != sum("content") || len(f.Warnings) != 0 {
		t.Errorf("found %+v", f)
	}
	if _, err := os.Stat(cache); err == nil {
		t.Error("the file was read although its digest was known")
	}
	// A file of another size is not the one that was built.
	if err := os.WriteFile(f.Models[0].Path, []byte("another content"), 0o644); err != nil {
		t.Fatal(err)
	}
	f = mustRead(t, dir)
	f.Digests(context.Background(), cache)
	if f.Models[0].Offer.Digest != sum("another content") {
		t.Errorf("digest is %s", f.Models[0].Offer.Digest)
	}
}

func TestWriteDigestsRefusesProblems(t *testing.T) {
	dir := folder(t, map[string]string{"a/x/model.onnx": "content"})
	if _, err := WriteDigests(context.Background(), dir); err == nil {
		t.Error("a bad folder was accepted")
	}
	if _, err := os.Stat(filepath.Join(dir, digestsName)); err == nil {
		t.Error("digests were written")
	}
}

func TestDigestsAreRemembered(t *testing.T) {
	dir := folder(t, map[string]string{"a/1/model.onnx": "content", digestsName: "not JSON"})
	cache := filepath.Join(t.TempDir(), "cache")
	read := func() *Folder {
		f := mustRead(t, dir)
		f.Digests(context.Background(), cache)
		return f
	}
	f := read()
	if f.Models[0].Offer.Digest != sum("content") || len(f.Warnings) != 1 {
		t.Fatalf("found %+v", f)
	}
	// Same length and time, other bytes: only the cache can say "content" now.
	path := f.Models[0].Path
	info, _ := os.Stat(path)
	if err := os.WriteFile(path, []byte("CONTENT"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(path, info.ModTime(), info.ModTime())
	if got := read().Models[0].Offer.Digest; got != sum("content") {
		t.Errorf("the cache was not used: %s", got)
	}
	os.Chtimes(path, time.Now(), time.Now().Add(time.Hour))
	if got := read().Models[0].Offer.Digest; got != sum("CONTENT") {
		t.Errorf("a stale digest was used: %s", got)
	}
	if err := os.WriteFile(cache, []byte(`{"`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := read().Models[0].Offer.Digest; got != sum("CONTENT") {
		t.Errorf("a broken cache gave %s", got)
	}
}

func TestDigestsThatCannotBeComputedAreProblems(t *testing.T) {
	f := mustRead(t, folder(t, map[string]string{"a/1/model.onnx": "content", "b/1/model.onnx": "content"}))
	os.Remove(f.Models[0].Path)
	f.Digests(context.Background(), filepath.Join(t.TempDir(), "cache"))
	if len(f.Models) != 1 || f.Err() == nil || !strings.Contains(f.Err().Error(), "models/a/1/model.onnx") {
		t.Errorf("found %+v", f)
	}
}

func TestHashingStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f := mustRead(t, folder(t, map[string]string{"a/1/model.onnx": "content"}))
	if _, err := hashFile(ctx, f.Models[0].Path); err == nil {
		t.Error("hashing went on")
	}
}

func FuzzConfig(f *testing.F) {
	for _, s := range []string{"", "slo: 80ms", "accuracy: .nan", "a: &a [*a]", "fallback: cpu\n---\nslo: 1s", "max_batch: 1e3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text)
		if err == nil && len(checkConfig(c)) > 0 {
			t.Errorf("%q was accepted as %+v", text, c)
		}
	})
}

func FuzzDigest(f *testing.F) {
	f.Add(sum("x"))
	f.Add("sha256:../../etc/passwd")
	f.Fuzz(func(t *testing.T, d string) {
		if validDigest(d) && (len(d) != 71 || strings.ContainsAny(d[7:], "/. ")) {
			t.Errorf("%q was accepted", d)
		}
	})
}

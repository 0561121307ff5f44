package process

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/internal/logline"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// write appends to a file of a replica's log.
func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
}

// drain reads all lines that there are.
func drain(t testing.TB, r *logReader) []logs.Message {
	t.Helper()
	var lines []logs.Message
	for {
		line, ok, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return lines
		}
		lines = append(lines, line)
	}
}

func TestLogReader(t *testing.T) {
	dir := t.TempDir()
	r := newLogReader(runtime.ID{Namespace: "ns", Name: "f"}, logSource{instance: "i", dir: dir, started: epoch})
	defer r.close()
	if got := drain(t, r); got != nil {
		t.Errorf("without a file: %v", got)
	}
	write(t, dir, "log", []byte("bare\n"))
	write(t, dir, "log", logline.Append(nil, epoch.Add(time.Second), "stamped"))
	write(t, dir, "log", []byte("trace\r\n\npart"))
	got := drain(t, r)
	want := []string{"0s bare", "1s stamped", "1s trace", "1s "}
	if texts := describeLines(got); !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
	if m := got[0]; m.Name != "f" || m.Namespace != "ns" || m.Instance != "i" {
		t.Errorf("message %+v", m)
	}
	write(t, dir, "log", []byte("ial\nlast"))
	if texts := describeLines(drain(t, r)); !slices.Equal(texts, []string{"1s partial"}) {
		t.Errorf("the rest of a line: %q", texts)
	}
	if line, ok := r.rest(); !ok || line.Text != "last" {
		t.Errorf("rest: %q, %v", line.Text, ok)
	}
	if line, ok := r.rest(); ok {
		t.Errorf("rest again: %q", line.Text)
	}
}

func describeLines(lines []logs.Message) []string {
	var texts []string
	for _, line := range lines {
		texts = append(texts, fmt.Sprint(line.Timestamp.Sub(epoch), " ", line.Text))
	}
	return texts
}

func TestLongLines(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "log", append(bytes.Repeat([]byte{'x'}, 2*maxLine+5), '\n'))
	r := newLogReader(runtime.ID{}, logSource{dir: dir})
	defer r.close()
	var total int
	lines := drain(t, r)
	for _, line := range lines {
		total += len(line.Text)
	}
	if total != 2*maxLine+5 || len(lines) != 3 {
		t.Errorf("%d bytes in %d lines", total, len(lines))
	}
}

// TestRotation reads, at random moments, what is written and rotated at random
// moments: no line may be missing or out of order, for a reader that was there
// from the beginning, and for one that comes late, from the oldest file on.
func TestRotation(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	r := newLogReader(runtime.ID{}, logSource{dir: dir})
	defer r.close()
	written, firstKept, firstPresent, read, rotations := 0, 0, 0, 0, 0
	check := func(r *logReader, from int) int {
		for _, line := range drain(t, r) {
			if want := fmt.Sprint("line ", from); line.Text != want {
				t.Fatalf("seed %d: got %q, want %q", seed, line.Text, want)
			}
			from++
		}
		return from
	}
	write(t, dir, "log", nil)
	check(r, 0) // opens the file
	for range 300 {
		for range random.IntN(20) {
			write(t, dir, "log", logline.Append(nil, epoch, fmt.Sprint("line ", written)))
			written++
		}
		switch random.IntN(4) {
		case 0:
			rotations = 0
			if read = check(r, read); read != written {
				t.Fatalf("seed %d: %d of %d lines", seed, read, written)
			}
		case 1:
			if rotations == 2 {
				continue
			}
			rotations++
			if err := os.Rename(filepath.Join(dir, "log"), filepath.Join(dir, "log.1")); err != nil {
				t.Fatal(err)
			}
			firstKept, firstPresent = firstPresent, written
			write(t, dir, "log", nil)
		case 2:
			late := newLogReader(runtime.ID{}, logSource{dir: dir})
			if got := check(late, firstKept); got != written {
				t.Fatalf("seed %d: a late reader has %d of %d lines", seed, got, written)
			}
			late.close()
		}
	}
}

func TestLastLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"\n\n":                  "",
		"one\ntwo\n\n":          "two",
		"one\ntwo":              "two",
		"x\npanic: no\n\nt 1\n": "panic: no",
		"x\nfatal error: all goroutines are asleep\nt": "fatal error: all goroutines are asleep",
		strings.Repeat("x", 20<<10) + "\nlast":         "last",
		strings.Repeat("é", 400):                       strings.Repeat("é", 150),
		string(logline.Append(nil, epoch, "stamped")):  "stamped",
	} {
		dir := t.TempDir()
		write(t, dir, "log", []byte(text))
		if got := lastLine(dir); got != want {
			t.Errorf("of %.30q: %q, want %q", text, got, want)
		}
	}
	if got := lastLine(t.TempDir()); got != "" {
		t.Errorf("without a log: %q", got)
	}
}

// TestFollowEndsWithTheFunction follows a function until it is deleted: its last
// lines come, then the end.
func TestFollowEndsWithTheFunction(t *testing.T) {
	r := open(t, t.TempDir())
	defer stop(t, r)
	d := deployment("followed", 1)
	create(t, r, d)
	ready(t, r, d.ID, 1)
	var texts []string
	started, done := make(chan struct{}, 1), make(chan error)
	go func() {
		done <- r.Logs(context.Background(), logs.Request{Name: "followed", Namespace: runtime.DefaultNamespace, Follow: true}, func(m logs.Message) error {
			texts = append(texts, m.Text)
			select {
			case started <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	<-started
	if err := r.Delete(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || len(texts) != 1 {
		t.Errorf("%q, %v", texts, err)
	}
}

// FuzzLog reads any bytes as a log: every byte that is no end of a line or stamp
// comes out.
func FuzzLog(f *testing.F) {
	f.Add([]byte("a\nb\r\n\nc"), []byte("d\n"))
	f.Add(logline.Append(nil, epoch, "stamped"), []byte("2030-01-01T00:00:00.000000000Z \n\x00\xff"))
	f.Fuzz(func(t *testing.T, former, present []byte) {
		dir := t.TempDir()
		write(t, dir, "log.1", former)
		write(t, dir, "log", present)
		r := newLogReader(runtime.ID{}, logSource{dir: dir})
		defer r.close()
		all := slices.Concat(former, present)
		var want []string
		for line := range bytes.Lines(all) {
			_, text, _ := logline.Parse(string(bytes.TrimRight(bytes.TrimSuffix(line, []byte("\n")), "\r")))
			want = append(want, text)
		}
		var got []string
		for _, line := range drain(t, r) {
			got = append(got, line.Text)
		}
		if line, ok := r.rest(); ok {
			got = append(got, line.Text)
		}
		if len(all) < maxLine && !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

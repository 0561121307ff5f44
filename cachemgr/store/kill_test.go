package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

const killedStore = "STORE_TEST_KILLED"

// TestKilled kills a process at random moments while it fills and changes a store.
// What it said it had done is there afterwards, and everything that is there is
// whole.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killedStore); dir != "" {
		t.Fatal(changeForEver(dir))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := open(t, 1<<30)
	want := map[string]bool{} // function to whether it has its model
	for round := range 20 {
		f.Close()
		for _, line := range runAndKill(t, f.dir, random.IntN(12), time.Duration(random.IntN(3000))*time.Microsecond) {
			if name, has := strings.CutPrefix(line, "has "); has {
				want[name] = true
			} else if name, dropped := strings.CutPrefix(line, "drops "); dropped {
				delete(want, name) // it may or may not be gone
			} else if name, gone := strings.CutPrefix(line, "lacks "); gone {
				want[name] = false
			}
		}
		f.reopen(1 << 30)
		f.wantWhole(round)
		for name, has := range want {
			if got := len(f.Models(fn(name))) == 1; got != has {
				t.Errorf("round %d: %s has its model: %v, want %v", round, name, got, has)
			}
		}
		if strings.Contains(f.log.String(), "corrupt") || strings.Contains(f.log.String(), "lost its file") {
			t.Fatalf("round %d: %s", round, &f.log)
		}
	}
	if len(want) < 20 {
		t.Errorf("only %d changes were made: the test tests nothing", len(want))
	}
}

// runAndKill kills the process a moment after it has said so many lines, and
// returns those that it has written whole.
func runAndKill(t *testing.T, dir string, after int, moment time.Duration) (lines []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), killedStore+"="+dir)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := bufio.NewReader(out)
	for {
		line, err := read.ReadString('\n')
		if err != nil {
			break
		}
		lines = append(lines, strings.TrimSpace(line))
		if len(lines) == 1+after {
			timer := time.AfterFunc(moment, func() { _ = child.Process.Kill() })
			defer timer.Stop()
		}
	}
	_ = child.Wait() // killed
	return lines
}

// changeForEver says each change on standard output before or after it is made.
func changeForEver(dir string) error {
	s, err := Open(Config{Dir: dir, Quota: 1 << 30, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, minted := context.Background(), time.Now()
	fmt.Println("begins")
	for i := range 1000 {
		name := fmt.Sprint(os.Getpid(), "-", i)
		content := strings.Repeat(name, 1000+rand.IntN(20000))
		o := offer("m", "1", content)
		err = errors.Join(s.Put(ctx, o.Digest, o.Size, strings.NewReader(content)), s.Register(ctx, fn(name), minted, o))
		if err != nil {
			return err
		}
		fmt.Println("has", name)
		if i%2 == 0 {
			continue
		}
		fmt.Println("drops", name)
		if i%4 == 1 {
			_, err = s.Offer(ctx, fn(name), minted, nil)
		} else {
			err = dropByReferences(s, name)
		}
		if err != nil {
			return err
		}
		fmt.Println("lacks", name)
	}
	return nil
}

// dropByReferences sets references to all functions there are but one.
func dropByReferences(s *Store, name string) error {
	refs := api.References{Generation: uint64(time.Now().UnixNano()), At: time.Now()}
	for _, r := range s.Registrations() {
		if r.Function != fn(name) {
			refs.Functions = append(refs.Functions, r.Function)
		}
	}
	_, err := s.SetReferences(context.Background(), refs)
	return err
}

// wantWhole reads everything that the store has.
func (f *fixture) wantWhole(round int) {
	f.t.Helper()
	entries, err := os.ReadDir(f.path("blobs"))
	if err != nil {
		f.t.Fatal(err)
	}
	var used int64
	for _, e := range entries {
		content, err := os.ReadFile(f.path("blobs", e.Name()))
		if err != nil {
			f.t.Fatal(err)
		}
		used += int64(len(content))
		if sum := sha256.Sum256(content); fmt.Sprintf("%x", sum) != e.Name() {
			f.t.Errorf("round %d: a file of %d bytes has not the digest %s", round, len(content), e.Name())
		}
	}
	if u := f.Usage(); u.Used != used || u.Files != len(entries) {
		f.t.Errorf("round %d: usage %+v, on disk %d bytes in %d files", round, u, used, len(entries))
	}
	if left, err := os.ReadDir(f.path("tmp")); err != nil || len(left) > 0 {
		f.t.Errorf("round %d: %d unfinished files are left, %v", round, len(left), err)
	}
	for _, r := range f.Registrations() {
		for _, o := range r.Models {
			if !f.Has(o.Digest) {
				f.t.Errorf("round %d: %s has a model without a file", round, r.Function.Name)
			}
		}
	}
}

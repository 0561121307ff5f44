package build

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/testlibs"
)

// victimDir is the variable that makes this test program a process that builds
// plans in a folder until it is killed; victimProgram names the builder.
const (
	victimDir     = "FAAS_GPU_TEST_BUILD_IN"
	victimProgram = "FAAS_GPU_TEST_BUILDER"
)

func buildUntilKilled(dir string) {
	b, err := New(configOf(os.Getenv(victimProgram), filepath.Join(dir, "plans"), "GPUSHIM_DOUBLE_BUILD_MS=3"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w := Want{ONNX: filepath.Join(dir, "model.onnx"), Precision: "fp32", Batch: 1}
	for n := 0; ; n++ {
		w.Digest = fmt.Sprint("sha256:", time.Now().UnixNano())
		p, err := b.Build(context.Background(), w, ignore)
		if err == nil && n%2 == 0 {
			err = b.Prove(p)
		}
		b.Release(p)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// Killed at any moment, what is left are whole plans, and no builder.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	model, err := os.ReadFile(want(t, 1).ONNX)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), model, 0o600); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	most := 0
	for range 8 {
		cmd := exec.Command(os.Args[0])
		var said strings.Builder
		cmd.Stderr = &said
		cmd.Env = append(os.Environ(), victimDir+"="+dir, victimProgram+"="+testlibs.Builder(t))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+rng.IntN(150)) * time.Millisecond) // the moment of the kill is what is tried
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || said.Len() > 0 {
			t.Fatalf("it ended by itself: %v %s", err, &said)
		}
		p := openWhenFree(t, filepath.Join(dir, "plans"))
		for id := range p.all {
			if plan, err := os.ReadFile(p.plan(id)); err != nil || !strings.HasPrefix(string(plan), "DOUBLEP1") {
				t.Errorf("%s is not whole: %v", id, err)
			}
		}
		most = max(most, len(p.all))
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
	}
	if most == 0 {
		t.Error("no plan was ever built")
	}
	t.Logf("%d plans", most)
	for deadline := time.Now().Add(10 * time.Second); buildersIn(t, dir) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("builders go on without whoever started them")
		}
	}
}

// openWhenFree opens a folder. A process that was just being started when its
// parent was killed has the lock until it has become the builder.
func openWhenFree(t *testing.T, dir string) *plans {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		p, err := openPlans(dir, 1<<20, slog.New(slog.DiscardHandler))
		if err == nil {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// buildersIn counts the processes that have the folder in their arguments.
func buildersIn(t *testing.T, dir string) (n int) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if text, _ := os.ReadFile(p); strings.Contains(string(text), dir) {
			n++
		}
	}
	return n
}

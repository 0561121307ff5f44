package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/internal/testlibs"
)

func TestBuildOnce(t *testing.T) {
	dir := t.TempDir()
	c := config(t, dir)
	gpu := c.GPU.(*quietGPU)
	b := open(t, c)
	w := want(t, 1)
	var phases []string
	p, err := b.Build(t.Context(), w, func(p Progress) {
		if n := len(phases); n == 0 || phases[n-1] != p.Phase {
			phases = append(phases, p.Phase)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if all := []string{PhaseStart, PhaseQueued, PhaseIdle, PhaseParse, PhaseBuild, PhaseWrite}; !slices.Equal(phases, all) {
		t.Errorf("went through %v, want %v", phases, all)
	}
	info, err := os.Stat(p.Path)
	if err != nil || info.Size() != p.Size || p.Size == 0 || p.Proven {
		t.Errorf("%+v: %v", p, err)
	}
	if gpu.most != 1000 || gpu.reserved != 0 {
		t.Errorf("%d bytes were set aside, %d still are", gpu.most, gpu.reserved)
	}
	if n, _ := filepath.Glob(filepath.Join(dir, "timing-*.cache")); len(n) != 1 {
		t.Errorf("timings are in %v", n)
	}
	p.Rows = 4
	if err := b.Prove(p); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}

	// After a restart nothing is built.
	c.Environ = []string{"GPUSHIM_DOUBLE_BUILD_FAIL=abort"}
	again, err := open(t, c).Build(t.Context(), w, ignore)
	if p.Proven = true; err != nil || again != p {
		t.Errorf("%+v, %v, want %+v", again, err, p)
	}
}

// Whatever a plan depends on makes it another one.
func TestPlansDiffer(t *testing.T) {
	dir := t.TempDir()
	w := want(t, 1)
	seen := map[string]bool{}
	build := func(w Want, environ ...string) {
		t.Helper()
		b, err := New(config(t, dir, environ...))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		p, err := b.Build(t.Context(), w, ignore)
		if err != nil {
			t.Fatal(err)
		}
		if seen[p.ID] {
			t.Errorf("%+v %v has the plan of another", w, environ)
		}
		seen[p.ID] = true
	}
	build(w)
	build(w, "GPUSHIM_DOUBLE_VERSION=2")
	other := w
	other.Precision = "fp32"
	build(other)
	other = w
	other.Batch = 8
	build(other)
	build(want(t, 2))
}

func TestBuildFails(t *testing.T) {
	w := want(t, 1)
	notONNX := w
	notONNX.ONNX = filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(notONNX.ONNX, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	badPrecision := w
	badPrecision.Precision = "fp4"
	for name, tt := range map[string]struct {
		want   Want
		change func(*Config)
		is     error
		says   string
	}{
		"bad model":    {w, fails("bad_model"), engine.ErrBadModel, "bad_model"},
		"no ONNX":      {notONNX, func(*Config) {}, engine.ErrBadModel, ""},
		"no memory":    {w, fails("no_memory"), engine.ErrNoMemory, ""},
		"device lost":  {w, fails("device_lost"), engine.ErrDeviceLost, ""},
		"other":        {w, fails("failed"), nil, "GPUSHIM_DOUBLE_BUILD_FAIL is failed"},
		"died":         {w, fails("abort"), nil, "abort"},
		"precision":    {badPrecision, func(*Config) {}, nil, "fp4"},
		"no program":   {w, func(c *Config) { c.Program = "/no/such/program" }, engine.ErrUnavailable, "/no/such/program"},
		"no device":    {w, func(c *Config) { c.Device = "GPU-1" }, engine.ErrUnavailable, "GPU-1"},
		"no room":      {w, func(c *Config) { c.GPU = &quietGPU{err: engine.ErrNoMemory} }, engine.ErrNoMemory, ""},
		"quota":        {w, func(c *Config) { c.Quota = 10 }, ErrQuota, "of 10"},
		"silent":       {w, func(c *Config) { c.Program = "/bin/true" }, errSilent, ""},
		"talks":        {w, func(c *Config) { c.Program = "/bin/echo" }, errSilent, ""},
		"says nothing": {w, func(c *Config) { c.Program = script(t, `echo '{"done":true}'`) }, engine.ErrUnavailable, "--describe"},
		"stderr":       {w, func(c *Config) { c.Program = script(t, `echo spilled >&2; exit 3`) }, nil, "spilled"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := config(t, dir)
			tt.change(&c)
			b := open(t, c)
			_, err := b.Build(t.Context(), tt.want, ignore)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %v and %q", err, tt.is, tt.says)
			}
			left, _ := filepath.Glob(filepath.Join(dir, "*.plan"))
			records, _ := filepath.Glob(filepath.Join(dir, "*.json"))
			tmp, _ := filepath.Glob(filepath.Join(dir, "tmp", "*"))
			if len(left)+len(records)+len(tmp) != 0 {
				t.Errorf("%v %v %v are left behind", left, records, tmp)
			}
			if g := c.GPU.(*quietGPU); g.reserved != 0 {
				t.Errorf("%d bytes are still set aside", g.reserved)
			}
		})
	}
}

func fails(how string) func(*Config) {
	return func(c *Config) { c.Environ = []string{"GPUSHIM_DOUBLE_BUILD_FAIL=" + how} }
}

// script is a program made of a line of shell.
func script(t *testing.T, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+line+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// A builder that does not end is ended, with all processes that it has started.
func TestBuildIsEnded(t *testing.T) {
	describe := `case "$1" in --describe) echo '{"tensorrt":"1","device":"d","sm":"0"}'; exit;; esac; `
	// The grandchild holds the pipe: the call returns only once it is dead too.
	hangs := describe + `sleep 600 & sleep 600`
	for name, tt := range map[string]struct {
		line   string
		change func(*Config)
		is     error
	}{
		"deadline":  {hangs, func(c *Config) { c.Timeout = 50 * time.Millisecond }, errTimeout},
		"given up":  {hangs, nil, context.Canceled},
		"memory":    {describe + `x=$(head -c 60000000 /dev/zero | tr '\0' x); sleep 600`, func(c *Config) { c.HostMemory = 30 << 20 }, errMemory},
		"long line": {describe + `head -c 100000 /dev/zero`, func(*Config) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t, t.TempDir())
			c.Program = script(t, tt.line)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.change != nil {
				tt.change(&c)
			} else {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
			began := time.Now()
			_, err := open(t, c).Build(ctx, want(t, 1), ignore)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v, want %v", err, tt.is)
			}
			if took := time.Since(began); took > killDelay {
				t.Errorf("it took %v: a process was left over", took)
			}
		})
	}
}

// Builds run one at a time, and the program is asked once what it builds for.
func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	c := config(t, filepath.Join(dir, "plans"))
	c.Program = script(t, `[ "$1" = --describe ] && echo d >> `+log+`; [ "$1" = --describe ] || echo b >> `+log+`
`+testlibs.Builder(t)+` "$@"; code=$?; [ "$1" = --describe ] || echo e >> `+log+`; exit $code`)
	b := open(t, c)
	var wait sync.WaitGroup
	for seed := range uint64(4) {
		w := want(t, seed)
		wait.Go(func() {
			if _, err := b.Build(t.Context(), w, ignore); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	text, err := os.ReadFile(log)
	if got := strings.ReplaceAll(string(text), "\n", ""); err != nil || got != "dbebebebe" {
		t.Errorf("%v: %s", err, got)
	}
}

// What a failed --describe says holds for a moment, not for ever.
func TestDescribeIsAskedAgain(t *testing.T) {
	asked := 0
	var fail error
	c := targetCache{describe: func(context.Context) (Target, error) {
		asked++
		return Target{TensorRT: "1"}, fail
	}}
	fail = engine.ErrUnavailable
	for range 2 {
		if _, err := c.get(t.Context()); !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	fail = nil
	c.askedAt = time.Now().Add(-time.Minute)
	for range 2 {
		if _, err := c.get(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if c.forget(); asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	if _, err := c.get(t.Context()); err != nil || asked != 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

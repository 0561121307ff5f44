package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

const (
	// killDelay is how long the program's pipes may stay open after it was killed.
	killDelay = 5 * time.Second
	// memoryPeriod is how often the program's memory is looked at.
	memoryPeriod = 250 * time.Millisecond
	// niceness makes the program yield to requests.
	niceness = 10
	// mostSaid is how much of what the program says about itself is kept, in bytes.
	mostSaid = 4 << 10
)

var (
	errTimeout = errors.New("it took too long")
	errMemory  = errors.New("it took too much memory")
	errSilent  = errors.New("it ended without a word")
)

// run runs the program in a process group of its own, which ends with ctx, or when
// it takes too long or too much memory. The program ends by itself when this
// process does: it watches its standard input.
func (b *Builder) run(ctx context.Context, report func(Progress), args ...string) (line, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, b.cfg.Timeout, fmt.Errorf("%w: more than %v", errTimeout, b.cfg.Timeout))
	defer stop()

	var said tail
	cmd := exec.CommandContext(ctx, b.cfg.Program, args...)
	cmd.Env, cmd.Stderr = b.cfg.Environ, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay
	if _, err := cmd.StdinPipe(); err != nil { // open until Wait
		return line{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return line{}, err
	}
	if err := cmd.Start(); err != nil {
		return line{}, fmt.Errorf("%w: the engine builder does not start: %w", engine.ErrUnavailable, err)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchMemory(ctx, cmd.Process.Pid, b.cfg.HostMemory, cancel)
	}()
	last, reading := readLines(out, report)
	ended := cmd.Wait()
	cause := context.Cause(ctx)
	cancel(nil)
	<-watched
	return last, verdict(cause, reading, ended, last, said.String())
}

// verdict is what is wrong with a run, the first cause first.
func verdict(cause, reading, ended error, last line, said string) error {
	switch {
	case cause != nil:
		return cause
	case reading != nil: // the program itself says why
		return reading
	case ended != nil:
		return fmt.Errorf("the engine builder failed: %w%s", ended, said)
	case last == line{}:
		return fmt.Errorf("the engine builder failed: %w%s", errSilent, said)
	}
	return nil
}

// watchMemory ends the run of a process that takes more than limit bytes of host
// memory. A limit of the kernel's on address space or data would also count what
// the CUDA driver merely sets aside. Until it is noticed here, the kernel would
// end the builder before anything else.
func watchMemory(ctx context.Context, pid int, limit int64, end context.CancelCauseFunc) {
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, niceness) // both are refinements
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("1000"), 0)
	look := time.NewTicker(memoryPeriod)
	defer look.Stop()
	for {
		if taken := residentBytes(pid); taken > limit {
			end(fmt.Errorf("%w: %d bytes of host memory, at most %d may be", errMemory, taken, limit))
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// residentBytes is what a process has in host memory; 0 if it has ended.
func residentBytes(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64) // the kernel writes numbers
	return pages * int64(os.Getpagesize())
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - mostSaid; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// String is what was kept, to stand behind a sentence.
func (t *tail) String() string {
	text := strings.ToValidUTF8(string(bytes.TrimSpace(t.kept)), "?")
	if text == "" {
		return ""
	}
	return "; it said: " + text
}

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Process is one of the lab's programs. It can be killed and started again with
// the same environment, as an init system would.
type Process struct {
	program string
	dir     string // that it works in, the present one if empty
	environ []string
	logFile string
	ready   func(context.Context) error

	cmd    *exec.Cmd
	exited chan struct{} // closed after err is set
	err    error
}

// StartProcess runs a program with an environment until it is ready, its output in
// logFile.
func StartProcess(ctx context.Context, program string, environ []string, logFile string, ready func(context.Context) error) (*Process, error) {
	p := &Process{program: program, environ: environ, logFile: logFile, ready: ready}
	if err := p.start(ctx); err != nil {
		if p.cmd != nil && p.cmd.Process != nil {
			err = errors.Join(err, p.Stop())
		}
		return nil, err
	}
	return p, nil
}

// start runs the program and waits until it is ready.
func (p *Process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.program)
	p.cmd.Dir, p.cmd.Env = p.dir, p.environ
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.exited = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := p.awaitReady(ctx); err != nil {
		return fmt.Errorf("%s: %w; its output:\n%s", filepath.Base(p.program), err, p.Tail())
	}
	return nil
}

func (p *Process) awaitReady(ctx context.Context) error {
	return Poll(ctx, func() error {
		select {
		case <-p.exited:
			return Final(fmt.Errorf("ended while it started: %w", p.err))
		default:
			return p.ready(ctx)
		}
	})
}

// Alive is nil as long as the process runs.
func (p *Process) Alive() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s has ended: %w", filepath.Base(p.program), p.err)
	default:
		return nil
	}
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process with SIGKILL and waits until it is gone, and those that
// end with it.
func (p *Process) Kill() error {
	serving, err := p.children()
	if err != nil {
		return err
	}
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.exited
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return Poll(ctx, func() error {
		for _, pid := range serving {
			// One that has ended has no memory, whether its end was taken note of or not.
			if _, err := RSS(pid); err == nil {
				return fmt.Errorf("process %d of %s still runs", pid, p.program)
			}
		}
		return nil
	})
}

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// children are the processes that the process has started itself: the provider's
// serve for it.
func (p *Process) children() ([]int, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.PID()))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, file := range files {
		text, _ := os.ReadFile(file) // of a thread that may have ended
		for _, field := range bytes.Fields(text) {
			pid, err := strconv.Atoi(string(field))
			if err != nil {
				return nil, err
			}
			all = append(all, pid)
		}
	}
	return all, nil
}

// Restart starts the process again after it has gone, and waits until it is
// ready.
func (p *Process) Restart(ctx context.Context) error { return p.start(ctx) }

// Stop asks the process to end, and waits.
func (p *Process) Stop() error {
	select {
	case <-p.exited:
		return nil // it was killed
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(20 * time.Second):
		return errors.Join(fmt.Errorf("%s did not end 20 s after SIGTERM", p.program), p.Kill())
	}
}

// Tail is the end of the process's output.
func (p *Process) Tail() []byte {
	const most = 4 << 10
	data, err := os.ReadFile(p.logFile)
	if err != nil {
		return []byte(err.Error())
	}
	return data[max(0, len(data)-most):]
}

// finalError ends a Poll.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final marks an error that polling will not mend.
func Final(err error) error { return finalError{err} }

// Poll calls f every 20 ms until it returns nil or a Final error, or ctx ends;
// then it returns f's last error.
func Poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if final := (finalError{}); err == nil || errors.As(err, &final) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// Package child runs a process that may not outlive this one.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/logs"
	"golang.org/x/sys/unix"
)

// drainOutput is how long output is still read after a process has ended, for
// the case that another one has its pipe open.
const drainOutput = time.Second

// Command is what to run.
type Command struct {
	Args    []string
	Environ []string
	// Stdout and Stderr take the lines that it prints, MaxLine bytes long at
	// most. Prefix says whether they are told apart by "stdout: " and "stderr: ".
	Stdout, Stderr logs.Sink
	MaxLine        int
	Prefix         bool
	// In, if not nil, is its standard input; Out, if not nil, its standard output
	// in Stdout's place. They stay the caller's to close.
	In, Out *os.File
}

// Process is a running command in a process group of its own.
type Process struct {
	cmd   *exec.Cmd
	ended atomic.Bool   // its number may be another's by now
	done  chan struct{} // closed when it has ended and its output was taken
	err   error         // set before done is closed
}

// Start starts a command. The kernel kills it when this process dies without
// having stopped it.
func Start(c Command) (*Process, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = c.Environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if c.In != nil {
		cmd.Stdin = c.In
	}
	stderr, err := newOutput(c.Stderr, prefix(c, "stderr: "), c.MaxLine)
	if err != nil {
		return nil, err
	}
	outputs := []*output{stderr}
	cmd.Stderr = stderr.write
	if c.Out != nil {
		cmd.Stdout = c.Out
	} else {
		stdout, err := newOutput(c.Stdout, prefix(c, "stdout: "), c.MaxLine)
		if err != nil {
			stderr.abandon()
			return nil, err
		}
		outputs = append(outputs, stdout)
		cmd.Stdout = stdout.write
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started, outputs...)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	return p, nil
}

func prefix(c Command, p string) string {
	if c.Prefix {
		return p
	}
	return ""
}

// run has a thread to itself: the kernel sends the parent-death signal when the
// thread that started a process ends, not when its process does.
func (p *Process) run(started chan<- error, outputs ...*output) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	for _, o := range outputs {
		o.write.Close()
	}
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		p.signal(unix.SIGKILL) // what it has left behind
		p.ended.Store(true)
		reapGroup(p.cmd.Process.Pid)
	}
	late := time.After(drainOutput)
	for _, o := range outputs {
		select {
		case <-o.done:
		case <-late:
			o.read.Close()
			<-o.done
		}
	}
	close(p.done)
}

// reapGroup takes what is left of a group that was killed off the list of
// processes. It is there only if this process is the one that orphans go to, the
// first of its container; then nobody else would.
func reapGroup(group int) {
	for {
		if _, err := unix.Wait4(-group, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return // there are none
		}
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is its exit code as a shell would report it: 128 and the signal's
// number if it was killed. It may be asked for when Done is closed.
func (p *Process) ExitCode() int {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return 0
	case !errors.As(p.err, &exit):
		return 1
	}
	if s := p.Signal(); s != 0 {
		return 128 + int(s)
	}
	return exit.ExitCode()
}

// Signal is what it was killed by, 0 if it has ended by itself. It may be asked
// for when Done is closed.
func (p *Process) Signal() syscall.Signal {
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return status.Signal()
		}
	}
	return 0
}

// Pid is its process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stop asks the process group to end, kills it after grace or when force is
// closed, and returns when it has ended.
func (p *Process) Stop(grace time.Duration, force <-chan struct{}) {
	p.signal(unix.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return
	case <-timer.C:
	case <-force:
	}
	p.signal(unix.SIGKILL)
	<-p.done
}

// Kill kills the process group and does not wait for it.
func (p *Process) Kill() { p.signal(unix.SIGKILL) }

// signal reaches the whole group. That it is gone already is no error.
func (p *Process) signal(s unix.Signal) {
	if !p.ended.Load() {
		_ = unix.Kill(-p.cmd.Process.Pid, s)
	}
}

// output is one stream of a process.
type output struct {
	read, write *os.File
	done        chan struct{}
}

func newOutput(sink logs.Sink, prefix string, maxLine int) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{read: r, write: w, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		defer r.Close()
		_ = logs.Split(r, maxLine, prefix, sink) // it ends with the process
	}()
	return o, nil
}

func (o *output) abandon() {
	o.write.Close()
	<-o.done
}

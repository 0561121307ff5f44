package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is a child as its parent sees it.
type process struct {
	pid    int
	handle *os.Process
	line   *line
	exited chan struct{}   // closed after status is set
	status unix.WaitStatus // how it ended
}

// ExitError is how a child ended.
type ExitError struct{ Status unix.WaitStatus }

func (e *ExitError) Error() string {
	if e.Status.Signaled() {
		return fmt.Sprintf("the process that serves was ended by the signal %v", e.Status.Signal())
	}
	return fmt.Sprintf("the process that serves has ended with status %d", e.Status.ExitStatus())
}

// result is nil if the process, which has exited, ended well.
func (c *process) result() error {
	if c.status == 0 {
		return nil
	}
	return &ExitError{c.status}
}

// start starts a child. The listener's descriptor goes to it as it is: os/exec
// would make the socket block, also for the other processes that have it.
func (p *Parent) start() (*process, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("a socket for the child: %w", err)
	}
	defer unix.Close(ends[1])
	conn, err := inherited(uintptr(ends[0]), net.FileConn)
	if err != nil {
		return nil, fmt.Errorf("a socket for the child: %w", err)
	}
	raw, err := p.Listener.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c := &process{line: newLine(conn), exited: make(chan struct{})}
	var forkErr error
	err = raw.Control(func(listener uintptr) {
		forkErr = p.fork(c, listener, uintptr(ends[1]))
	})
	if err := errors.Join(err, forkErr); err != nil {
		c.line.close()
		return nil, fmt.Errorf("start %s: %w", p.Path, err)
	}
	return c, nil
}

// fork starts a child and has it reaped.
func (p *Parent) fork(c *process, listener, control uintptr) error {
	p.mu.Lock() // until it is known, so that it is not reaped as an unknown one
	defer p.mu.Unlock()
	var err error
	c.pid, err = syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{
		Env:   append(p.Environ[:len(p.Environ):len(p.Environ)], variable+"="+version),
		Files: []uintptr{0, 1, 2, listenerFD: listener, controlFD: control},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	if c.handle, err = os.FindProcess(c.pid); err != nil {
		return err
	}
	if p.children == nil {
		p.children = map[int]*process{}
	}
	p.children[c.pid] = c
	if !p.reaping {
		p.reaping = true
		go p.reap()
	}
	return nil
}

// reap waits for children until there are none. It takes also those that are not
// its own: the first process of a container inherits all whose parent has ended.
func (p *Parent) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		p.mu.Lock()
		if err != nil {
			if len(p.children) > 0 { // started since
				p.mu.Unlock()
				continue
			}
			p.reaping = false
			p.mu.Unlock()
			return
		}
		c := p.children[pid]
		delete(p.children, pid)
		p.mu.Unlock()
		if c != nil {
			c.status = status
			close(c.exited)
			c.line.close()
			c.handle.Release()
		}
	}
}

// all are the children that have not ended.
func (p *Parent) all() []*process {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*process
	for _, c := range p.children {
		list = append(list, c)
	}
	return list
}

// kill ends a child at once and returns when it has gone.
func (c *process) kill() {
	c.handle.Kill() // fails if it has ended
	<-c.exited
}

package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// handle is hold of one process, of this program's making or not: its number may
// be used again, the handle still means the process.
type handle struct {
	pid int
	fd  *os.File
}

func newHandle(pid, fd int) (*handle, error) {
	// Not blocking, the descriptor is waited for together with all others
	// instead of by a thread of its own.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	return &handle{pid, os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pid))}, nil
}

// adopt takes hold of a process that runs, if it was started at the tick birth.
func adopt(pid int, birth uint64) (*handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	s, err := readStat(pid)
	if err == nil && s.birth != birth {
		err = errors.New("another process has its number now")
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return newHandle(pid, fd)
}

// wait returns in words how the process ended; an error once the handle is closed.
func (h *handle) wait() (string, error) {
	raw, err := h.fd.SyscallConn()
	if err != nil {
		return "", err
	}
	var pollErr error
	err = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		if errors.Is(err, unix.EINTR) {
			n, err = 0, nil
		}
		pollErr = err
		return n > 0 || err != nil
	})
	if err := errors.Join(err, pollErr); err != nil {
		return "", err
	}
	return h.reap(), nil
}

// reap collects the status of a process that ended, if this program is its
// parent; nobody else can.
func (h *handle) reap() string {
	raw, err := h.fd.SyscallConn()
	if err != nil {
		return "ended"
	}
	child := false
	err = raw.Control(func(fd uintptr) {
		child = unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
	})
	var status unix.WaitStatus
	if err == nil && child {
		_, err = unix.Wait4(h.pid, &status, unix.WNOHANG, nil)
	}
	switch {
	case err != nil || !child:
		return "ended"
	case status.Signaled():
		return "was killed by signal " + unix.SignalName(status.Signal())
	default:
		return fmt.Sprintf("exited with status %d", status.ExitStatus())
	}
}

func (h *handle) signal(s syscall.Signal) error {
	raw, err := h.fd.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) { sendErr = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	return errors.Join(err, sendErr)
}

func (h *handle) close() error { return h.fd.Close() }

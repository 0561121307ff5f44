package handover

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// Program is what a child does. The calls come one after the other.
type Program interface {
	// Serve opens the program's state and serves on a listener, which the program
	// closes in the end. After Release it opens the state again.
	Serve(ctx context.Context, l net.Listener) error
	// Release closes the state and goes on answering as well as it can.
	Release() error
	// Leave follows Release: a successor serves. It returns when all is done that
	// had begun; it hurries once ctx has ended.
	Leave(ctx context.Context) error
	// Shutdown ends the program at any step.
	Shutdown() error
	// Failed tells when the program no longer serves although it should.
	Failed() <-chan error
}

// Child is the process that serves.
type Child struct {
	listener net.Listener
	line     *line
}

// Inherit takes what a parent gave to this process; nil if it has none.
func Inherit(environ []string) (*Child, error) {
	i := slices.IndexFunc(environ, func(v string) bool { return strings.HasPrefix(v, variable+"=") })
	if i < 0 {
		return nil, nil
	}
	if _, v, _ := strings.Cut(environ[i], "="); v != version {
		return nil, fmt.Errorf("the parent process is of another version (%s is %q, not %q): stop and start the service instead", variable, v, version)
	}
	l, err := inherited(listenerFD, net.FileListener)
	if err != nil {
		return nil, fmt.Errorf("the parent's listening socket: %w", err)
	}
	conn, err := inherited(controlFD, net.FileConn)
	if err != nil {
		return nil, fmt.Errorf("the socket to the parent: %w", err)
	}
	return &Child{listener: l, line: newLine(conn)}, nil
}

// inherited makes use of a descriptor, which no process that is started from here
// gets.
func inherited[T any](fd uintptr, use func(*os.File) (T, error)) (T, error) {
	f := os.NewFile(fd, "")
	defer f.Close()
	return use(f)
}

// Run does what the parent says until the program has ended, ctx ends, or the
// parent has gone.
func (c *Child) Run(ctx context.Context, p Program) error {
	defer c.line.close()
	// Who signals all processes of this name means the parent.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGUSR2)
	defer signal.Stop(ignored)

	if err := c.line.say(prepared); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return p.Shutdown()
		case err := <-p.Failed():
			p.Shutdown()
			return err
		case word, ok := <-c.line.words:
			if !ok {
				return p.Shutdown()
			}
			if word == leave {
				return p.Leave(ctx)
			}
			if err := c.do(ctx, p, word); err != nil {
				p.Shutdown()
				return err
			}
		}
	}
}

// do does what the parent says, and tells it.
func (c *Child) do(ctx context.Context, p Program, word string) error {
	switch word {
	case serve:
		if err := p.Serve(ctx, c.listener); err != nil {
			return err
		}
		return c.line.say(serving)
	case release:
		if err := p.Release(); err != nil {
			return err
		}
		return c.line.say(released)
	}
	return fmt.Errorf("the parent process says %q, which is unknown here", word)
}

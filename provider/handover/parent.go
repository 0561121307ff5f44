package handover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// defaultTimeout of a step.
const defaultTimeout = time.Minute

// Parent owns the listening socket while the processes that serve come and go.
type Parent struct {
	// Path of the program, and its arguments with its name.
	Path string
	Args []string
	// Environ is the children's environment.
	Environ  []string
	Listener *net.TCPListener
	// Timeout of each step of a child; a minute if 0.
	Timeout time.Duration
	Log     *slog.Logger

	mu       sync.Mutex       // guards what follows
	children map[int]*process // that have not ended, by process ID
	reaping  bool
}

// Run starts a child and, at every signal, replaces it. It returns when the child
// has ended by itself, or once all have ended after they were asked to at the end
// of ctx. An error of a child is an *ExitError; the child itself says more.
func (p *Parent) Run(ctx context.Context, restart <-chan os.Signal) error {
	// Children are killed when the thread that started them ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.Timeout = cmp.Or(p.Timeout, defaultTimeout)
	active, err := p.first(ctx)
	if ctx.Err() != nil {
		return p.end(active)
	}
	for err == nil {
		select {
		case <-restart:
			active = p.restart(ctx, active)
		case <-active.exited:
			err = cmp.Or(active.result(), errors.New("the process that serves has ended"))
		case <-ctx.Done():
			return p.end(active)
		}
	}
	return errors.Join(err, p.end(nil))
}

// first starts a child that serves. With an error there may be one that does not.
func (p *Parent) first(ctx context.Context) (*process, error) {
	c, err := p.prepare(ctx)
	if err != nil {
		return nil, err
	}
	return c, p.ask(ctx, c, serve, serving)
}

// restart replaces the child that serves, and returns the one that does then.
func (p *Parent) restart(ctx context.Context, active *process) *process {
	p.Log.Info("restarting", "program", p.Path, "pid", active.pid)
	next, err := p.replace(ctx, active)
	if err != nil {
		p.Log.Error("not restarted: the former process goes on", "pid", active.pid, "error", err)
		return active
	}
	p.Log.Info("restarted: the former process ends when its requests have", "pid", next.pid, "former_pid", active.pid)
	return next
}

func (p *Parent) replace(ctx context.Context, active *process) (*process, error) {
	next, err := p.prepare(ctx)
	if err != nil {
		return nil, err
	}
	err = p.ask(ctx, active, release, released)
	if err == nil {
		err = p.ask(ctx, next, serve, serving)
	}
	if err != nil {
		next.kill() // the state is free then
		return nil, errors.Join(err, p.ask(ctx, active, serve, serving))
	}
	if err := active.line.say(leave); err != nil { // it has ended, or will be asked to in the end
		p.Log.Warn("the former process", "error", err)
	}
	return next, nil
}

// prepare starts a child and returns when it is ready to serve.
func (p *Parent) prepare(ctx context.Context) (*process, error) {
	c, err := p.start()
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, c, prepared); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// ask tells a child to do something, and waits until it has.
func (p *Parent) ask(ctx context.Context, c *process, what, answer string) error {
	if err := c.line.say(what); err != nil {
		select {
		case <-c.exited:
			return c.result()
		default:
			return err
		}
	}
	return p.await(ctx, c, answer)
}

// await waits for a word of a child.
func (p *Parent) await(ctx context.Context, c *process, word string) error {
	timer := time.NewTimer(p.Timeout)
	defer timer.Stop()
	words := c.line.words
	for {
		select {
		case got, ok := <-words:
			switch {
			case got == word:
				return nil
			case !ok: // it ends
				words = nil
			}
		case <-c.exited:
			return cmp.Or(c.result(), fmt.Errorf("process %d has ended without being %s", c.pid, word))
		case <-timer.C:
			return fmt.Errorf("process %d is not %s after %v", c.pid, word, p.Timeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end asks all children to end, and waits until they have. What the active one
// returned is the result.
func (p *Parent) end(active *process) error {
	children := p.all()
	for _, c := range children {
		c.handle.Signal(syscall.SIGTERM) // fails if it has ended
	}
	for _, c := range children {
		<-c.exited
	}
	if active == nil {
		return nil
	}
	return active.result()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stack is the embedded stack, in a process of its own.
type stack struct {
	cmd     *exec.Cmd
	envFile string
	logFile string
	exited  chan struct{} // closed after err is set
	err     error
}

// startStack starts the stack with a state folder of its own on a free port, and
// waits until it serves.
func startStack(ctx context.Context, cfg config) (*stack, error) {
	state := filepath.Join(cfg.dir, "state")
	s := &stack{
		envFile: filepath.Join(state, "env"),
		logFile: filepath.Join(cfg.dir, "stack.log"),
		exited:  make(chan struct{}),
	}
	log, err := os.Create(s.logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(cfg.stack)
	s.cmd.Env = append(os.Environ(), "state_dir="+state, "port=0",
		"onnxruntime_library="+cfg.library, "FAAS_GPU_SOURCE="+cfg.source, "tools_path="+cfg.shims,
		"device_budget="+cfg.deviceBudget.String(), "host_budget="+cfg.hostBudget.String())
	s.cmd.Stdout, s.cmd.Stderr = log, log
	// Ctrl-C reaches the demo alone, which then stops the stack.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("embedded stack: %w", err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// ready waits for the env file, which the stack writes once it serves.
func (s *stack) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(s.envFile); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.exited:
			return fmt.Errorf("the embedded stack ended while it started; its output:\n%s", s.tail())
		case <-ctx.Done():
			return fmt.Errorf("the embedded stack did not start (%w); its output:\n%s", ctx.Err(), s.tail())
		}
	}
}

// stop ends the stack and its functions. It may be called again.
func (s *stack) stop() error {
	// It fails only if the process is gone, which is looked at next.
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		if s.err != nil {
			return fmt.Errorf("embedded stack: %w; its output:\n%s", s.err, s.tail())
		}
		return nil
	case <-time.After(time.Minute):
		return errors.Join(errors.New("the embedded stack did not stop within a minute"), s.cmd.Process.Kill())
	}
}

// tail is the end of the stack's output.
func (s *stack) tail() []byte {
	const most = 4 << 10
	data, err := os.ReadFile(s.logFile)
	if err != nil {
		return []byte(err.Error())
	}
	return data[max(0, len(data)-most):]
}

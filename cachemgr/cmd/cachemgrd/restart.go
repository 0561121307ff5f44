package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr/node"
)

// restartError: the program has to begin anew, in the same process. After a GPU was
// lost, or where there was none at first, the CUDA driver gives this run of the
// program none any more.
type restartError struct {
	sockets node.Sockets // where clients wait for the next run
}

func (*restartError) Error() string { return "restart" }

// checkGPU is the argument with which the program only says whether GPUs can be
// used.
const checkGPU = "-check-gpu"

// lastLook is the longest pause between looks for a GPU.
const lastLook = 5 * time.Minute

// restart replaces this run of the program by another one with the same process
// number, arguments and environment. It returns only if that fails.
func restart(sockets node.Sockets) error {
	// Go's own files are closed by exec; a library's may not be.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	environ, err := sockets.Environ(os.Environ())
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return fmt.Errorf("restart: %w", syscall.Exec(path, os.Args, environ))
}

// tryGPU opens the GPUs and says what it has found.
func tryGPU(ctx context.Context, c config, log *slog.Logger, out io.Writer) error {
	gpu, err := c.openGPU(log)
	if err != nil {
		return err
	}
	devices, err := gpu.Devices(ctx)
	for _, d := range devices {
		fmt.Fprintf(out, "%s %s, %d bytes\n", d.ID, d.Name, d.TotalBytes)
	}
	return errors.Join(err, gpu.Close())
}

// awaitGPU closes the channel that it returns once GPUs can be used that could not
// at the start. It asks in other processes, since the driver does not look twice
// in one.
func awaitGPU(ctx context.Context, pause time.Duration, environ []string, log *slog.Logger) <-chan struct{} {
	there := make(chan struct{})
	path, err := os.Executable()
	if err != nil {
		log.Warn("not looking for GPUs again", "error", err)
		return there
	}
	go func() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			cmd := exec.CommandContext(ctx, path, checkGPU)
			cmd.Env = environ
			if cmd.Run() == nil {
				close(there)
				return
			}
			pause = min(2*pause, lastLook)
			timer.Reset(pause)
		}
	}()
	return there
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildGo compiles the Go program of a context to out. A workspace beside it
// puts the checkout in the place of the published module, so nothing is
// downloaded that the checkout does not need too, and the context stays as
// faas-cli wrote it.
func buildGo(ctx context.Context, cfg config, contextDir, out string) error {
	if cfg.source == "" {
		return errors.New("FAAS_GPU_SOURCE is not set; it is in the file that `make up` tells you to source")
	}
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("a Go toolchain is needed to build Go functions: %w", err)
	}
	work := filepath.Join(filepath.Dir(out), "go.work")
	if err := os.WriteFile(work, workspace(contextDir, cfg.source), 0o644); err != nil {
		return err
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = contextDir
	cmd.Env = append(cmd.Environ(), cfg.environ...)
	cmd.Env = append(cmd.Env, "GOWORK="+work, "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "PWD="+contextDir)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the function does not compile (%w):\n%s", err, strings.TrimSpace(output.String()))
	}
	return nil
}

// workspace is a go.work of the context, its handler if that is a module of its
// own, and the checkout: all that one of them imports from another is there,
// without any of them requiring it.
func workspace(contextDir, source string) []byte {
	dirs := []string{contextDir, source}
	handler := filepath.Join(contextDir, "function")
	if _, err := os.Stat(filepath.Join(handler, "go.mod")); err == nil {
		dirs = append(dirs, handler)
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, "go 1.26")
	for _, dir := range dirs {
		fmt.Fprintf(&b, "use %q\n", dir)
	}
	return b.Bytes()
}

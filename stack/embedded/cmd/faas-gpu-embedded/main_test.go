package main

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram has the test binary be the program.
const asProgram = "TEST_AS_FAAS_GPU_EMBEDDED"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Args = os.Args[:1]
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The stack stops as a whole although nobody reads what it prints any more.
func TestSignals(t *testing.T) {
	library := os.Getenv("ONNXRUNTIME_LIB")
	if library == "" {
		t.Skip("ONNXRUNTIME_LIB is not set: `make unit` sets it")
	}
	for name, signals := range map[string][]syscall.Signal{
		"Ctrl-C":           {syscall.SIGINT},
		"closed terminal":  {syscall.SIGHUP, syscall.SIGHUP},
		"end of a service": {syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out, in, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = []string{asProgram + "=1", "state_dir=" + dir, "port=0", "onnxruntime_library=" + library}
			cmd.Stdout, cmd.Stderr = in, in
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			in.Close()
			text := bufio.NewReader(out)
			for line := ""; !strings.Contains(line, "Ctrl-C stops"); {
				if line, err = text.ReadString('\n'); err != nil {
					t.Fatalf("it does not serve: %v", err)
				}
			}
			out.Close()
			for _, s := range signals {
				if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
			}
			late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			defer late.Stop()
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "env")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("its env file is there: %v", err)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-help"}, nil, &out, &out); err != nil || !strings.Contains(out.String(), "state_dir") {
		t.Errorf("-help: %v, %s", err, out.String())
	}
	if err := run(t.Context(), []string{"-port=1"}, nil, &out, &out); err == nil || !strings.Contains(err.Error(), "-port=1") {
		t.Errorf("another argument: %v", err)
	}
}

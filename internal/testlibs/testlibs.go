// Package testlibs finds the libraries and programs that the Makefile builds for tests.
// A test that needs one which is not there is skipped, and says how to get it.
package testlibs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// ONNXRuntime is ONNX Runtime's library: what ONNXRUNTIME_LIB names, or else where the
// Makefile puts it.
func ONNXRuntime(t testing.TB) string {
	t.Helper()
	path := find(t, "ONNXRUNTIME_LIB", "onnxruntime/libonnxruntime.so")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no ONNX Runtime (stack/deps/onnxruntime.sh .build/onnxruntime installs it): %v", err)
	}
	return path
}

// Double is the shim on the driver double, a GPU that this machine has not: what
// GPUSHIM_DOUBLE_LIB names, or else where the Makefile builds it.
func Double(t testing.TB) string {
	t.Helper()
	path := find(t, "GPUSHIM_DOUBLE_LIB", "native/libgpushim_double.so")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no driver double (`make native` builds it): %v", err)
	}
	return path
}

// Builder is the program that makes plans for the double; it stands beside it.
func Builder(t testing.TB) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(Double(t)), "gpushim-build-double")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no builder for the double (`make native` builds it): %v", err)
	}
	return path
}

// find is the absolute path that a variable of the environment names, or one below
// .build in the working copy that the test is in.
func find(t testing.TB, variable, built string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join(root(t), ".build", built)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// root is the folder of go.mod: tests run in that of their package.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil:
			return dir
		case !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir):
			t.Fatalf("no go.mod above: %v", err)
		}
		dir = filepath.Dir(dir)
	}
}

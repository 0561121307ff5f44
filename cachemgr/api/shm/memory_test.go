package shm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMemoryKeepsItsSize(t *testing.T) {
	m, err := New(10000)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	other, err := Map(int(m.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer Unmap(other)
	copy(m.Data[9990:], "0123456789")
	if len(other) != 10000 || string(other[9990:]) != "0123456789" {
		t.Errorf("the other side has %d bytes, %q at their end", len(other), other[9990:])
	}
	for _, size := range []int64{0, 4096, 20000} {
		if err := m.file.Truncate(size); !errors.Is(err, unix.EPERM) {
			t.Errorf("its size is now %d, %v", size, err)
		}
	}
	// Its pages can be taken away; whoever reads them gets others.
	if err := unix.Fallocate(int(m.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 10000); err != nil {
		t.Fatal(err)
	}
	if other[9990] != 0 || other[0] != 0 {
		t.Errorf("a hole holds %q", other[9990:])
	}
}

// memfd makes one as a careless or malicious client might.
func memfd(t *testing.T, flags int, size int64, seals int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", flags|unix.MFD_CLOEXEC)
	if err != nil {
		t.Skipf("memfd_create with flags %#x: %v", flags, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	if seals != 0 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

func open(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestUnsuitableDescriptors(t *testing.T) {
	const sealable, both = unix.MFD_ALLOW_SEALING, unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	for name, tt := range map[string]struct {
		fd   func(t *testing.T) int
		want string
	}{
		"file": {func(t *testing.T) int { return open(t, filepath.Join(t.TempDir(), "f"), unix.O_CREAT|unix.O_RDWR) }, "not a memfd"},
		"file in memory": {func(t *testing.T) int {
			path := fmt.Sprintf("/dev/shm/faas-gpu-test-%d", os.Getpid())
			t.Cleanup(func() { os.Remove(path) })
			return open(t, path, unix.O_CREAT|unix.O_RDWR)
		}, "not a memfd"},
		"device":                  {func(t *testing.T) int { return open(t, "/dev/zero", unix.O_RDWR) }, "not a memfd"},
		"folder":                  {func(t *testing.T) int { return open(t, "/", unix.O_RDONLY) }, "not a memfd"},
		"path only":               {func(t *testing.T) int { return open(t, "/dev/zero", unix.O_PATH) }, "not a memfd"},
		"no seals":                {func(t *testing.T) int { return memfd(t, sealable, 4096, 0) }, "F_SEAL_SHRINK and F_SEAL_GROW"},
		"no sealing":              {func(t *testing.T) int { return memfd(t, 0, 4096, 0) }, "F_SEAL_SHRINK and F_SEAL_GROW"},
		"it can grow":             {func(t *testing.T) int { return memfd(t, sealable, 4096, unix.F_SEAL_SHRINK) }, "F_SEAL_SHRINK and F_SEAL_GROW"},
		"it can shrink":           {func(t *testing.T) int { return memfd(t, sealable, 4096, unix.F_SEAL_GROW) }, "F_SEAL_SHRINK and F_SEAL_GROW"},
		"empty":                   {func(t *testing.T) int { return memfd(t, sealable, 0, both) }, "it has 0 bytes"},
		"not to be written":       {func(t *testing.T) int { return memfd(t, sealable, 4096, both|unix.F_SEAL_WRITE) }, "cannot be written"},
		"not to be written later": {func(t *testing.T) int { return memfd(t, sealable, 4096, both|unix.F_SEAL_FUTURE_WRITE) }, "cannot be written"},
		"read only": {func(t *testing.T) int {
			return open(t, fmt.Sprintf("/proc/self/fd/%d", memfd(t, sealable, 4096, both)), unix.O_RDONLY)
		}, "cannot be written"},
		"huge pages": {func(t *testing.T) int { return memfd(t, sealable|unix.MFD_HUGETLB, 2<<20, both) }, "huge pages"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := Map(tt.fd(t))
			if !errors.Is(err, ErrUnsuitable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%d bytes, %v; want %q", len(data), err, tt.want)
			}
		})
	}
}

func TestMemoryOfNoSize(t *testing.T) {
	for _, size := range []int64{0, -1, 1 << 62} {
		if m, err := New(size); err == nil {
			m.Close()
			t.Errorf("there is memory of %d bytes", size)
		}
	}
}

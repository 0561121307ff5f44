package shm

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// ErrUnsuitable: a descriptor is not memory that can be shared; the error says
// what it would have to be.
var ErrUnsuitable = errors.New("unsuitable descriptor")

// seals keep a memfd at its size. With one that could shrink, its owner could have
// whoever else reads it killed (SIGBUS).
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// Memory is a memfd of our own, mapped.
type Memory struct {
	Data []byte
	file *os.File
}

// New makes memory of a size in bytes. It takes pages as it is written.
func New(size int64) (*Memory, error) {
	fd, err := unix.MemfdCreate("faas-gpu-tensors", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("shared memory: memfd_create: %w", err)
	}
	m := &Memory{file: os.NewFile(uintptr(fd), "memfd")}
	if err := m.file.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("shared memory of %d bytes: %w", size, err), m.file.Close())
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|unix.F_SEAL_SEAL); err != nil {
		return nil, errors.Join(fmt.Errorf("shared memory: seal: %w", err), m.file.Close())
	}
	if m.Data, err = Map(fd); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	return m, nil
}

// Close unmaps the memory. Whoever else has it mapped keeps it.
func (m *Memory) Close() error {
	return errors.Join(Unmap(m.Data), m.file.Close())
}

// Map maps all of a memfd to read and write, after making sure that its owner can
// do no harm with it to this process. Unmap ends it; the descriptor is not needed
// for that. ErrUnsuitable, or the system's error.
func Map(fd int) ([]byte, error) {
	size, err := Size(fd)
	if err != nil {
		return nil, err
	}
	data, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%w: it cannot be written: open it to read and write, and do not seal it against writing", ErrUnsuitable)
	case err != nil:
		return nil, fmt.Errorf("map %d bytes of shared memory: %w", size, err)
	}
	return data, nil
}

// Unmap ends a Map.
func Unmap(data []byte) error { return unix.Munmap(data) }

// Size is that of a memfd that Map takes, in bytes; it cannot change. ErrUnsuitable.
//
// The seals come first: only what has them is memory for sure, and asking anything
// else, such as a file on a network, may take forever.
func Size(fd int) (int64, error) {
	have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return 0, fmt.Errorf("%w: it is not a memfd", ErrUnsuitable)
	}
	if have&seals != seals {
		return 0, fmt.Errorf("%w: it is not a memfd that is sealed with F_SEAL_SHRINK and F_SEAL_GROW", ErrUnsuitable)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnsuitable, err)
	}
	if fs.Type != unix.TMPFS_MAGIC {
		// Huge pages can run out when they are touched, which is a SIGBUS too.
		return 0, fmt.Errorf("%w: it is a memfd of another kind than the ordinary one, such as huge pages", ErrUnsuitable)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnsuitable, err)
	}
	if st.Size <= 0 || st.Size > math.MaxInt {
		return 0, fmt.Errorf("%w: it has %d bytes", ErrUnsuitable, st.Size)
	}
	return st.Size, nil
}

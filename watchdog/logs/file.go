package logs

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/logline"
)

// MaxSize is the size at which a log file is put aside, in bytes.
const MaxSize = 8 << 20

// File is a log file whose lines are stamped. When it has reached its limit it
// becomes PATH.1, which replaces an older one, and a new file is begun. A write
// is in the file when Write returns, so nothing is lost when the process ends.
type File struct {
	path     string
	limit    int64
	onOpen   func(*os.File) error
	now      func() time.Time
	mu       sync.Mutex // guards what follows, and orders the lines
	file     *os.File
	size     int64
	buf      []byte
	rotateOK bool
}

// OpenFile opens or makes the file. onOpen, if not nil, is called with every
// file that is begun, this first one included.
func OpenFile(path string, limit int64, onOpen func(*os.File) error) (*File, error) {
	f := &File{path: path, limit: limit, onOpen: onOpen, now: time.Now, rotateOK: true}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("log_file: %w", err)
	}
	info, err := file.Stat()
	if err == nil && f.onOpen != nil {
		err = f.onOpen(file)
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("log_file %s: %w", f.path, err)
	}
	if f.file != nil {
		f.file.Close()
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Line writes one line, which has no newline in it.
func (f *File) Line(text []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buf = logline.Append(f.buf[:0], f.now(), string(text))
	f.flush()
}

// Write stamps every line of p. It is what the log package writes to.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.now()
	f.buf = f.buf[:0]
	for line := range bytes.Lines(p) {
		f.buf = logline.Append(f.buf, at, string(line))
	}
	if err := f.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes buf out. The lock is held across this one write: the order of
// the lines is what it is for.
func (f *File) flush() error {
	if f.size >= f.limit && f.rotateOK {
		f.rotate()
	}
	n, err := f.file.Write(f.buf)
	f.size += int64(n)
	return err
}

// rotate begins a new file. If that fails the old one grows on: losing lines
// would be worse, and so would trying again at every line.
func (f *File) rotate() {
	err := os.Rename(f.path, f.path+".1")
	if err == nil {
		err = f.open()
	}
	if err != nil {
		f.rotateOK = false
		fmt.Fprintf(f.file, "watchdog: this file is no longer rotated: %v\n", err)
	}
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

package logs

import (
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Capture sends everything that this process prints to a file at path: package
// log (and with it slog's default) writes there directly, os.Stdout and
// os.Stderr through pipes that stamp each line. Descriptors 1 and 2 are the file
// itself, so that the trace of a crash, which the runtime writes when nothing
// else runs any more, is kept: bare.
//
// It changes the whole process and is for programs. finish puts os.Stdout and
// os.Stderr back and returns when what was printed is in the file.
func Capture(path string, maxLine int) (file *File, finish func(), err error) {
	file, err = OpenFile(path, MaxSize, func(f *os.File) error {
		return errors.Join(unix.Dup3(int(f.Fd()), 1, 0), unix.Dup3(int(f.Fd()), 2, 0))
	})
	if err != nil {
		return nil, nil, err
	}
	stdout, outDone, err := pipe(file, maxLine)
	if err != nil {
		return nil, nil, err
	}
	stderr, errDone, err := pipe(file, maxLine)
	if err != nil {
		return nil, nil, err
	}
	oldStdout, oldStderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = stdout, stderr
	log.SetOutput(file)
	log.SetFlags(0)
	return file, func() {
		os.Stdout, os.Stderr = oldStdout, oldStderr
		stdout.Close()
		stderr.Close()
		// A process that the function left behind may hold a pipe open.
		late := time.After(time.Second)
		for _, done := range []<-chan struct{}{outDone, errDone} {
			select {
			case <-done:
			case <-late:
				return
			}
		}
	}, nil
}

// pipe makes a file to print to, whose lines go to the sink. done is closed when
// all of them are there, after the file was closed.
func pipe(sink Sink, maxLine int) (w *os.File, done <-chan struct{}, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("log_file: %w", err)
	}
	end := make(chan struct{})
	go func() {
		defer close(end)
		defer r.Close()
		Split(r, maxLine, "", sink)
	}()
	return w, end, nil
}

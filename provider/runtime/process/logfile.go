package process

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/internal/logline"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// maxLine is where a line is cut in two.
const maxLine = 256 << 10

// logSource is a replica whose log can be read.
type logSource struct {
	instance string
	dir      string
	started  time.Time
	ended    bool // nothing more is written
}

// logReader reads what a replica wrote, across rotations of its file.
type logReader struct {
	id     runtime.ID
	source logSource
	files  []*os.File // still to be read, oldest first; the last is or was "log"
	buffer []byte     // read and not yet returned
	stamp  time.Time  // of the last line that has one
}

func newLogReader(id runtime.ID, source logSource) *logReader {
	return &logReader{id: id, source: source, stamp: source.started}
}

func (r *logReader) close() {
	for _, f := range r.files {
		f.Close()
	}
}

// next returns the next line that is complete, false if there is none yet.
func (r *logReader) next() (logs.Message, bool, error) {
	for {
		if i := bytes.IndexByte(r.buffer, '\n'); i >= 0 {
			return r.cut(i, 1), true, nil
		}
		if len(r.buffer) >= maxLine {
			return r.cut(maxLine, 0), true, nil
		}
		more, err := r.fill()
		if !more || err != nil {
			return logs.Message{}, false, err
		}
	}
}

// rest returns a last line without a newline.
func (r *logReader) rest() (logs.Message, bool) {
	if len(r.buffer) == 0 {
		return logs.Message{}, false
	}
	return r.cut(len(r.buffer), 0), true
}

// cut takes n bytes as a line, and drops those after it that end it.
func (r *logReader) cut(n, after int) logs.Message {
	at, text, ok := logline.Parse(string(bytes.TrimRight(r.buffer[:n], "\r")))
	r.buffer = r.buffer[n+after:]
	if ok {
		r.stamp = at
	}
	return logs.Message{
		Name: r.id.Name, Namespace: r.id.Namespace, Instance: r.source.instance, Timestamp: r.stamp, Text: text,
	}
}

// fill reads more; false if there is no more now.
func (r *logReader) fill() (bool, error) {
	if len(r.files) == 0 {
		var err error
		if r.files, err = openLogs(r.source.dir); err != nil || len(r.files) == 0 {
			return false, err
		}
	}
	const chunk = 64 << 10
	have := len(r.buffer)
	r.buffer = slices.Grow(r.buffer, chunk)
	n, err := r.files[0].Read(r.buffer[have : have+chunk])
	r.buffer = r.buffer[:have+n]
	if n > 0 || err != nil && !errors.Is(err, io.EOF) {
		return n > 0, err
	}
	if len(r.files) == 1 {
		if rotated, err := r.rotated(); !rotated || err != nil {
			return false, err
		}
	}
	r.files[0].Close()
	r.files = r.files[1:]
	return true, nil
}

// openLogs opens a replica's former file, if there is one, and its present one.
// They are opened in the other order: a rotation in between makes the present
// the former, and nothing is missed.
func openLogs(dir string) ([]*os.File, error) {
	present, err := os.Open(filepath.Join(dir, "log"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	former, err := os.Open(filepath.Join(dir, "log.1"))
	if errors.Is(err, fs.ErrNotExist) {
		return []*os.File{present}, nil
	}
	if err != nil {
		present.Close()
		return nil, err
	}
	if same, err := sameFile(present, former.Name()); same || err != nil {
		former.Close()
		return []*os.File{present}, err
	}
	return []*os.File{former, present}, nil
}

// rotated is whether there is a newer file than the one that is open; what is
// newer is then open too. A reader that misses no more than one of two rotations
// misses no line.
func (r *logReader) rotated() (bool, error) {
	last := r.files[0]
	same, err := sameFile(last, filepath.Join(r.source.dir, "log"))
	if same || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Something may have been written between the last read and the rotation.
	rest, err := io.ReadAll(last)
	r.buffer = append(r.buffer, rest...)
	if err != nil {
		return false, err
	}
	newer, err := openLogs(r.source.dir)
	if err != nil || len(newer) == 0 {
		return false, err
	}
	if same, err := sameFile(last, newer[0].Name()); len(newer) == 2 && same && err == nil {
		newer[0].Close()
		newer = newer[1:]
	}
	r.files = append(r.files, newer...)
	return true, nil
}

func sameFile(f *os.File, name string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	return os.SameFile(a, b), nil
}

// lastLine of a replica's log, or the line that says why a Go program ended.
func lastLine(dir string) string {
	f, err := os.Open(filepath.Join(dir, "log"))
	if err != nil {
		return ""
	}
	defer f.Close()
	const window, most = 16 << 10, 300
	if info, err := f.Stat(); err == nil && info.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, window))
	if err != nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(string(data)) {
		_, text, _ := logline.Parse(strings.TrimRight(line, "\r\n"))
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		last = text
		if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
			break
		}
	}
	return strings.ToValidUTF8(last[:min(len(last), most)], "")
}

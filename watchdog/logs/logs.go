// Package logs takes what a function prints to where it is kept: to a file,
// each line stamped, or as it is to standard output and error.
package logs

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Sink takes whole lines without their newline. It is safe for concurrent use
// and does not keep the slice.
type Sink interface {
	Line(text []byte)
}

// Plain writes lines to a stream.
type Plain struct {
	Dated bool // put the local time before each line
	mu    sync.Mutex
	w     io.Writer
	buf   []byte
}

// NewPlain makes a sink of a stream.
func NewPlain(w io.Writer, dated bool) *Plain { return &Plain{w: w, Dated: dated} }

// Line writes one line.
func (p *Plain) Line(text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = p.buf[:0]
	if p.Dated {
		p.buf = time.Now().AppendFormat(p.buf, "2006/01/02 15:04:05 ")
	}
	p.buf = append(append(p.buf, text...), '\n')
	p.w.Write(p.buf)
}

// Split calls sink for every line that r gives, each with prefix before it,
// until r ends. Lines longer than max bytes are split.
func Split(r io.Reader, max int, prefix string, sink Sink) error {
	in := bufio.NewReaderSize(r, max)
	line := make([]byte, 0, 256)
	for {
		part, err := in.ReadSlice('\n')
		if len(part) > 0 {
			line = append(append(line[:0], prefix...), trimNewline(part)...)
			sink.Line(line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func trimNewline(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}

// NewLogger makes the watchdog's own logger. The time is left out where the
// lines are stamped.
func NewLogger(w io.Writer, stamped bool) *slog.Logger {
	options := &slog.HandlerOptions{}
	if stamped {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, options))
}

package docker

import (
	"bytes"
	"time"
)

// maxLine is where a line is cut in two.
const maxLine = 256 << 10

// line is one line of a container's log.
type line struct {
	at     time.Time
	text   string
	stderr bool
}

// lines makes lines of one stream of a container. Docker hands over a long line in
// pieces, each in a frame of its own with the time in front; package stdcopy
// writes a frame in one piece.
type lines struct {
	emit   func(line) error
	stderr bool
	at     time.Time // of the line that is begun
	part   []byte
}

// Write takes one frame.
func (l *lines) Write(frame []byte) (int, error) {
	rest := frame
	at, text, ok := cutTime(rest)
	if ok {
		rest = text
	}
	if len(l.part) == 0 {
		l.at = at
	}
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			l.part = append(l.part, rest...)
			break
		}
		l.part = append(l.part, rest[:i]...)
		rest = rest[i+1:]
		if err := l.flush(); err != nil {
			return 0, err
		}
		if len(rest) == 0 {
			break
		}
	}
	if len(l.part) >= maxLine {
		if err := l.flush(); err != nil {
			return 0, err
		}
	}
	return len(frame), nil
}

// flush emits what there is of a line.
func (l *lines) flush() error {
	text := string(bytes.TrimRight(l.part, "\r"))
	l.part = l.part[:0]
	return l.emit(line{l.at, text, l.stderr})
}

// end emits a last line that has no newline.
func (l *lines) end() error {
	if len(l.part) == 0 {
		return nil
	}
	return l.flush()
}

// cutTime takes off the time that Docker puts in front of a frame.
func cutTime(frame []byte) (time.Time, []byte, bool) {
	stamp, text, ok := bytes.Cut(frame, []byte(" "))
	if !ok {
		return time.Time{}, nil, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	return at, text, err == nil
}

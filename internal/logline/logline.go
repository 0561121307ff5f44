// Package logline is the form of a line in a replica's log file: a timestamp,
// a space, the text. The watchdog writes it and the process runtime reads it. A
// crash trace, which the watchdog can no longer stamp, stands there bare.
package logline

import (
	"strings"
	"time"
)

const layout = "2006-01-02T15:04:05.000000000Z"

// Append adds one line with its newline to dst. Newlines at the end of text are
// dropped; text must hold no other.
func Append(dst []byte, at time.Time, text string) []byte {
	dst = at.UTC().AppendFormat(dst, layout)
	dst = append(dst, ' ')
	dst = append(dst, strings.TrimRight(text, "\r\n")...)
	return append(dst, '\n')
}

// Parse splits a line without its newline. A line without a timestamp is all
// text, and ok is false.
func Parse(line string) (at time.Time, text string, ok bool) {
	if len(line) > len(layout) && line[len(layout)] == ' ' {
		if at, err := time.Parse(layout, line[:len(layout)]); err == nil {
			return at, line[len(layout)+1:], true
		}
	}
	return time.Time{}, line, false
}

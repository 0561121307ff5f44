package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/config"
)

// timeLimit is how long a request may take: the configured limits, shortened by
// the request's X-Timeout and by what the hops before it have left. A value that
// cannot be read is as none, as in of-watchdog.
func timeLimit(c *config.Config, h http.Header) time.Duration {
	limit := c.WriteTimeout // nothing can be sent after it
	if c.ExecTimeout > 0 {
		limit = min(limit, c.ExecTimeout)
	}
	for _, name := range []string{"X-Timeout", api.HeaderDeadline} {
		if v := h.Get(name); v != "" {
			if d, err := time.ParseDuration(v); err == nil && d > 0 {
				limit = min(limit, d)
			}
		}
	}
	return limit
}

// requestLine is the line of a request in the log, as of-watchdog has it.
func requestLine(r *http.Request, code int, bytes int64, took time.Duration, callID string) []byte {
	b := make([]byte, 0, 128)
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.RequestURI...)
	b = append(b, " - "...)
	b = strconv.AppendInt(b, int64(code), 10)
	if text := http.StatusText(code); text != "" {
		b = append(append(b, ' '), text...)
	}
	b = append(b, " - ContentLength: "...)
	b = appendSize(b, bytes)
	b = append(b, " ("...)
	b = strconv.AppendFloat(b, took.Seconds(), 'f', 4, 64)
	b = append(b, "s)"...)
	if callID != "" {
		b = append(append(append(b, " ["...), printable(callID)...), ']')
	}
	return b
}

// appendSize writes a number of bytes with four digits at most: 12B, 602.1kB.
func appendSize(b []byte, n int64) []byte {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 4 {
		v /= 1000
		unit++
	}
	b = strconv.AppendFloat(b, v, 'g', 4, 64)
	return append(b, []string{"B", "kB", "MB", "GB", "TB"}[unit]...)
}

// printable keeps a header's value from breaking a line or hiding in it.
func printable(s string) string {
	if len(s) > 128 {
		s = s[:128]
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}

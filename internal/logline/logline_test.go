package logline

import (
	"testing"
	"time"
)

func TestRoundTrip(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	line := string(Append(nil, at, "hello world\r\n"))
	if line != "2026-01-02T02:04:05.000006000Z hello world\n" {
		t.Fatalf("line is %q", line)
	}
	got, text, ok := Parse(line[:len(line)-1])
	if !ok || !got.Equal(at) || text != "hello world" {
		t.Errorf("Parse gave %v, %q, %v", got, text, ok)
	}
}

func TestEmptyTextRoundTrips(t *testing.T) {
	line := string(Append(nil, time.Unix(0, 0), ""))
	if _, text, ok := Parse(line[:len(line)-1]); !ok || text != "" {
		t.Errorf("Parse gave %q, %v", text, ok)
	}
}

func TestBareLines(t *testing.T) {
	for _, line := range []string{"", "panic: boom", "2026-01-02T02:04:05.000006000Z", "2026-13-02T02:04:05.000006000Z x"} {
		if _, text, ok := Parse(line); ok || text != line {
			t.Errorf("Parse(%q) = %q, %v", line, text, ok)
		}
	}
}

package env

import (
	"strings"
	"testing"
	"time"
)

func TestValues(t *testing.T) {
	s := New([]string{"a=x=y", "n=7", "b=1", "d=90", "d2=1m", "size=3Mi", "pick=two", "empty=", "noequals"})
	if got := s.String("a", "", ""); got != "x=y" {
		t.Errorf("a = %q", got)
	}
	if got := s.String("empty", "default", ""); got != "default" {
		t.Errorf("empty = %q", got)
	}
	if got := s.Int("n", 1, ""); got != 7 {
		t.Errorf("n = %d", got)
	}
	if !s.Bool("b", false, "") {
		t.Error("b is false")
	}
	if got := s.Duration("d", 0, ""); got != 90*time.Second {
		t.Errorf("d = %v", got)
	}
	if got := s.Duration("d2", 0, ""); got != time.Minute {
		t.Errorf("d2 = %v", got)
	}
	if got := s.Bytes("size", 0, ""); got != 3<<20 {
		t.Errorf("size = %d", got)
	}
	if got := s.OneOf("pick", "one", "", "one", "two"); got != "two" {
		t.Errorf("pick = %q", got)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

func TestBadValuesAreAllReported(t *testing.T) {
	s := New([]string{"n=-1", "b=maybe", "d=soon", "size=12XB", "huge=99999999999Gi", "pick=three"})
	s.Int("n", 1, "")
	s.Bool("b", false, "")
	s.Duration("d", 0, "")
	s.Bytes("size", 0, "")
	s.Bytes("huge", 0, "")
	s.OneOf("pick", "one", "", "one", "two")
	s.Fail("other", "clashes with %s", "n")
	err := s.Err()
	if err == nil {
		t.Fatal("bad values were accepted")
	}
	for _, name := range []string{"n:", "b:", "d:", "size:", "huge:", "pick:", "other: clashes with n"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q is not reported in %q", name, err)
		}
	}
}

func TestUsageListsEveryVariable(t *testing.T) {
	s := New(nil)
	s.Bytes("budget", 512<<20, "bytes for models")
	s.Duration("wait", 30*time.Second, "longest wait")
	var b strings.Builder
	if err := s.Usage(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"budget", "512Mi", "bytes for models", "wait", "30s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

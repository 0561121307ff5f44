// Package env reads a program's configuration from its environment. It is used
// like package flag: each variable is declared once with its default and its
// meaning, so that the list of all of them can be printed and nothing is read
// that is not on it. A bad value is an error that names the variable; all errors
// are reported together. The environment is an argument: tests pass their own.
package env

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Set is a program's variables.
type Set struct {
	values map[string]string
	vars   []variable
	errs   []error
}

type variable struct{ name, value, usage string }

// New reads an environment in the form of os.Environ.
func New(environ []string) *Set {
	s := &Set{values: make(map[string]string, len(environ))}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			s.values[name] = value
		}
	}
	return s
}

// String declares a variable; an empty value counts as not set.
func (s *Set) String(name, def, usage string) string {
	return declare(s, name, def, usage, func(v string) (string, error) { return v, nil })
}

// Int declares a whole number that is not negative.
func (s *Set) Int(name string, def int, usage string) int {
	return declare(s, name, def, usage, func(v string) (int, error) {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%q is not a whole number of 0 or more", v)
		}
		return n, nil
	})
}

// Bool declares a switch: "true", "false", "1" or "0".
func (s *Set) Bool(name string, def bool, usage string) bool {
	return declare(s, name, def, usage, func(v string) (bool, error) {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return false, fmt.Errorf(`%q is neither "true" nor "false"`, v)
		}
		return b, nil
	})
}

// Duration declares a time: a Go duration or, as OpenFaaS has it, a whole number
// of seconds.
func (s *Set) Duration(name string, def time.Duration, usage string) time.Duration {
	return declare(s, name, def, usage, func(v string) (time.Duration, error) {
		if n, err := strconv.Atoi(v); err == nil && n >= 0 {
			return time.Duration(n) * time.Second, nil
		}
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is neither a duration nor a number of seconds", v)
		}
		return d, nil
	})
}

// Bytes is a number of bytes that prints as it was meant.
type Bytes int64

func (b Bytes) String() string {
	for i, unit := range []string{"Gi", "Mi", "Ki"} {
		if size := Bytes(1) << (30 - 10*i); b >= size && b%size == 0 {
			return strconv.FormatInt(int64(b/size), 10) + unit
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Bytes declares a size: a number with an optional suffix k, M, G, Ki, Mi or Gi.
func (s *Set) Bytes(name string, def Bytes, usage string) int64 {
	return int64(declare(s, name, def, usage, ParseBytes))
}

// ParseBytes reads a size as Set.Bytes does.
func ParseBytes(v string) (Bytes, error) {
	digits, unit := v, int64(1)
	for suffix, size := range map[string]int64{"k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30} {
		if d, ok := strings.CutSuffix(v, suffix); ok {
			digits, unit = d, size
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size such as 512Mi", v)
	}
	return Bytes(n * unit), nil
}

// OneOf declares a choice.
func (s *Set) OneOf(name, def, usage string, choices ...string) string {
	return declare(s, name, def, usage+" ("+strings.Join(choices, ", ")+")", func(v string) (string, error) {
		for _, c := range choices {
			if v == c {
				return v, nil
			}
		}
		return "", fmt.Errorf("%q is not one of %s", v, strings.Join(choices, ", "))
	})
}

func declare[T any](s *Set, name string, def T, usage string, parse func(string) (T, error)) T {
	out, value := def, s.values[name]
	if value != "" {
		parsed, err := parse(value)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("%s: %w", name, err))
		} else {
			out = parsed
		}
	}
	s.vars = append(s.vars, variable{name, fmt.Sprint(def), usage})
	return out
}

// Fail records that a variable's value is wrong for a reason only its reader
// knows.
func (s *Set) Fail(name, format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

// Err is nil if every value could be read.
func (s *Set) Err() error { return errors.Join(s.errs...) }

// Usage prints every declared variable with its default and meaning.
func (s *Set) Usage(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "VARIABLE\tDEFAULT\tMEANING")
	for _, v := range s.vars {
		fmt.Fprintf(t, "%s\t%s\t%s\n", v.name, v.value, v.usage)
	}
	return t.Flush()
}

package oip

import (
	"bytes"
	"fmt"
	"strconv"
)

// maxDepth is how deep JSON values may nest.
const maxDepth = 64

// scanner walks over JSON text. It accepts what RFC 8259 defines, and of that
// only text in valid UTF-8 without lone surrogates.
type scanner struct {
	text  []byte
	at    int
	depth int
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// fail reports what was wanted and what stands at the present place instead.
func (s *scanner) fail(wanted string) error {
	if s.at >= len(s.text) {
		return malformed("the JSON ends at byte %d where %s should be", s.at, wanted)
	}
	return malformed("the JSON has %q at byte %d where %s should be", s.text[s.at], s.at, wanted)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// take skips white space and then c, if c is next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.at >= len(s.text) {
		return false
	}
	s.at++
	return true
}

func (s *scanner) word(w string) bool {
	s.peek()
	if !bytes.HasPrefix(s.text[s.at:], []byte(w)) {
		return false
	}
	s.at += len(w)
	return true
}

// null skips the word null, if it is next.
func (s *scanner) null() bool { return s.word("null") }

// object calls field for each key, with the scanner before the value.
func (s *scanner) object(field func(key []byte) error) error {
	if !s.take('{') {
		return s.fail("an object")
	}
	return s.list('}', func() error {
		if s.peek() != '"' {
			return s.fail("a field name")
		}
		key, err := s.quoted()
		if err != nil {
			return err
		}
		if bytes.IndexByte(key, '\\') >= 0 {
			key = appendUnquoted(nil, key)
		}
		if !s.take(':') {
			return s.fail(`":"`)
		}
		return field(key)
	})
}

// field is one that an object may have.
type field struct {
	name string
	read func() error
}

// fields reads an object. Fields that are not known are skipped, as the protocol
// leaves room for extensions; null counts as absent; a known field that comes
// twice is refused.
func (s *scanner) fields(known ...field) error {
	seen := 0
	return s.object(func(key []byte) error {
		for i := range known {
			if known[i].name != string(key) {
				continue
			}
			if seen&(1<<i) != 0 {
				return malformed("the field %q is there twice, the second time before byte %d", key, s.at)
			}
			seen |= 1 << i
			if s.null() {
				return nil
			}
			return known[i].read()
		}
		_, err := s.skip()
		return err
	})
}

// array calls element before each element.
func (s *scanner) array(element func() error) error {
	if !s.take('[') {
		return s.fail("an array")
	}
	return s.list(']', element)
}

// list reads the rest of an object or array.
func (s *scanner) list(end byte, element func() error) error {
	if s.depth++; s.depth > maxDepth {
		return malformed("the JSON nests deeper than %d at byte %d", maxDepth, s.at)
	}
	defer func() { s.depth-- }()
	if s.take(end) {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.take(end) {
			return nil
		}
		if !s.take(',') {
			return s.fail(fmt.Sprintf(`"," or %q`, string(end)))
		}
	}
}

// skip reads a value of any kind and returns its text.
func (s *scanner) skip() ([]byte, error) {
	var err error
	c := s.peek()
	start := s.at
	switch {
	case c == '{':
		err = s.object(func([]byte) error { _, err := s.skip(); return err })
	case c == '[':
		err = s.array(func() error { _, err := s.skip(); return err })
	case c == '"':
		_, err = s.quoted()
	case c == '-' || c >= '0' && c <= '9':
		_, err = s.number()
	case s.word("true"), s.word("false"), s.null():
	default:
		err = s.fail("a value")
	}
	return s.text[start:s.at], err
}

func (s *scanner) boolean() (bool, error) {
	switch {
	case s.word("true"):
		return true, nil
	case s.word("false"):
		return false, nil
	}
	return false, s.fail("true or false")
}

// number returns the text of a number.
func (s *scanner) number() ([]byte, error) {
	s.peek()
	start := s.at
	if s.at < len(s.text) && s.text[s.at] == '-' {
		s.at++
	}
	if s.at < len(s.text) && s.text[s.at] == '0' {
		s.at++
	} else if s.digits() == 0 {
		return nil, s.fail("a number")
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if s.digits() == 0 {
			return nil, s.fail("a digit")
		}
	}
	if s.at < len(s.text) && s.text[s.at]|0x20 == 'e' {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if s.digits() == 0 {
			return nil, s.fail("a digit")
		}
	}
	return s.text[start:s.at], nil
}

func (s *scanner) digits() int {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at - start
}

// end checks that nothing follows.
func (s *scanner) end() error {
	if s.peek(); s.at < len(s.text) {
		return s.fail("the end")
	}
	return nil
}

// integer reads a whole number.
func (s *scanner) integer() (int64, error) {
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, malformed("%s is not a whole number of 64 bits", text)
	}
	return n, nil
}

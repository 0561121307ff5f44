package oip

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// str reads a string.
func (s *scanner) str() (string, error) {
	raw, err := s.quoted()
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw), nil
	}
	return string(appendUnquoted(nil, raw)), nil
}

// quoted reads a string and returns what is between its quotes, escapes as they
// are; appendUnquoted resolves them.
func (s *scanner) quoted() ([]byte, error) {
	if !s.take('"') {
		return nil, s.fail("a string")
	}
	start := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			raw := s.text[start:s.at]
			if !utf8.Valid(raw) {
				return nil, malformed("the string at byte %d is not valid UTF-8", start)
			}
			s.at++
			return raw, nil
		case c == '\\':
			n := escapeLength(s.text[s.at:])
			if n == 0 {
				return nil, malformed("the string at byte %d has a wrong escape at byte %d", start, s.at)
			}
			s.at += n
		case c < ' ':
			return nil, malformed("the string at byte %d has a control character at byte %d", start, s.at)
		default:
			s.at++
		}
	}
	return nil, malformed("the string at byte %d has no end", start)
}

// escapeLength is the length of the escape that b begins with, both halves of a
// surrogate pair together; 0 if it is not one.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if b[1] != 'u' {
		if bytes.IndexByte([]byte(`"\/bfnrt`), b[1]) < 0 {
			return 0
		}
		return 2
	}
	r, ok := hex4(b)
	switch {
	case !ok:
		return 0
	case !utf16.IsSurrogate(r):
		return 6
	}
	low, ok := hex4(b[6:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return 0
	}
	return 12
}

// hex4 reads \uXXXX.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

// appendUnquoted appends what raw, a string that quoted has checked, stands for.
func appendUnquoted(out, raw []byte) []byte {
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(out, raw...)
		}
		out = append(out, raw[:i]...)
		raw = raw[i:]
		n := escapeLength(raw)
		switch n {
		case 2:
			out = append(out, unescape(raw[1]))
		case 6:
			r, _ := hex4(raw)
			out = utf8.AppendRune(out, r)
		case 12:
			high, _ := hex4(raw)
			low, _ := hex4(raw[6:])
			out = utf8.AppendRune(out, utf16.DecodeRune(high, low))
		}
		raw = raw[n:]
	}
	return out
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// TextRoom is how many bytes the elements of the outputs that are not sent as
// binary data take at most: a multiple of what they take in memory.
func (r *Response) TextRoom(binary func(name string) bool) int64 { return textRoom(r.Outputs, binary) }

func textRoom(tensors []tensor.Tensor, binary func(name string) bool) int64 {
	room := int64(0)
	for i := range tensors {
		if t := &tensors[i]; !binary(t.Name) {
			room += int64(len(t.Data)) * longestText(t.Datatype) / int64(max(t.Datatype.Size(), 1))
		}
	}
	return room
}

// longestText is the length of the longest element in JSON, with its comma. Of
// strings it is that of one byte of their data.
func longestText(d tensor.Datatype) int64 {
	switch d {
	case tensor.Bool:
		return int64(len("false,"))
	case tensor.Uint8, tensor.Int8:
		return int64(len("-128,"))
	case tensor.Uint16, tensor.Int16:
		return int64(len("-32768,"))
	case tensor.Uint32, tensor.Int32:
		return int64(len("-2147483648,"))
	case tensor.Uint64, tensor.Int64:
		return int64(len("-9223372036854775808,"))
	case tensor.FP32:
		return int64(len("-0.000123456789,"))
	case tensor.FP64:
		return int64(len("-1.2345678901234567e-308,"))
	}
	return int64(len(`\u0000`))
}

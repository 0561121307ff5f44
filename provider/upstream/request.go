package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Request is what is sent to a replica.
type Request struct {
	Method string
	Target string // path and query as they stand in the request line
	// Header is the client's. What concerns only the client's connection is left
	// out; so are the names in Set.
	Header http.Header
	// Set has headers to send, by canonical name. An empty value only leaves the
	// client's out.
	Set []Field
	// Upgrade is a protocol that the replica may switch to, see UpgradeOf; there is
	// no body then.
	Upgrade string

	// Timeout is how long the replica may be silent where that is longer than
	// Config.Timeout.
	Timeout time.Duration

	// Body is the whole body, or nothing if Stream is set.
	Body []byte
	// Stream is a body that is sent as it comes, Length bytes or, if that is
	// negative, until it ends.
	Stream io.Reader
	Length int64
	// Interrupt makes a Read of Stream that waits return ErrInterrupted.
	Interrupt func()
}

// Field is one header.
type Field struct{ Name, Value string }

// hopByHop are the headers that end at each hop (RFC 9110, 7.6.1), and those
// that this package writes itself.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

func ours(name string) bool {
	return name == "Content-Length" || name == "Host" || name == "Expect"
}

// StripHopByHop deletes from h what concerns one connection only.
func StripHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for name := range h {
		if hopByHop(name) {
			delete(h, name)
		}
	}
}

// connectionNames are the headers that the Connection header names, without those
// that end at each hop anyway; nil for none. Both lists are as long as a client
// likes: a set keeps it from costing their product.
func connectionNames(h http.Header) map[string]bool {
	var names map[string]bool
	for _, list := range h["Connection"] {
		for token := range strings.SplitSeq(list, ",") {
			name := textproto.CanonicalMIMEHeaderKey(textproto.TrimString(token))
			if name == "" || name == "Close" || hopByHop(name) {
				continue
			}
			if names == nil {
				names = make(map[string]bool)
			}
			names[name] = true
		}
	}
	return names
}

func (r *Request) replaces(name string) bool {
	for i := range r.Set {
		if r.Set[i].Name == name {
			return true
		}
	}
	return false
}

// appendHead writes the request line and the headers. Names and values come from
// a parsed request, or from this program: none holds a line break.
func (r *Request) appendHead(b []byte, host string) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	dropped := connectionNames(r.Header)
	for name, values := range r.Header {
		if hopByHop(name) || ours(name) || r.replaces(name) || dropped[name] {
			continue
		}
		for _, v := range values {
			b = appendField(b, name, v)
		}
	}
	for i := range r.Set {
		if r.Set[i].Value != "" {
			b = appendField(b, r.Set[i].Name, r.Set[i].Value)
		}
	}
	if r.Upgrade != "" {
		b = append(b, "Connection: Upgrade\r\n"...)
		b = appendField(b, "Upgrade", r.Upgrade)
	}
	return append(r.appendLength(b), "\r\n"...)
}

func (r *Request) appendLength(b []byte) []byte {
	length := int64(len(r.Body))
	if r.Stream != nil {
		length = r.Length
	}
	switch {
	case length < 0:
		return append(b, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || r.Method != http.MethodGet && r.Method != http.MethodHead:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		return append(b, "\r\n"...)
	}
	return b
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// asked is what http.ReadResponse has to know of the request.
func (r *Request) asked() *http.Request {
	if r.Method == http.MethodHead {
		return &http.Request{Method: http.MethodHead}
	}
	return nil
}

// copyStream writes Stream to w piece by piece as it comes. The error has
// ErrBody in it if Stream is at fault.
func (r *Request) copyStream(w *conn) error {
	buffer := BorrowBuffer()
	defer ReturnBuffer(buffer)
	// A chunk is the size in 8 digits and a line break, the data, a line break.
	const before, after = 10, 2
	data := (*buffer)[before : len(*buffer)-after]
	for left := r.Length; left != 0; {
		p := data
		if left > 0 && int64(len(p)) > left {
			p = p[:left]
		}
		n, err := r.Stream.Read(p)
		if n > 0 {
			piece := p[:n]
			if r.Length < 0 {
				copy(*buffer, fmt.Appendf(nil, "%08x\r\n", n))
				copy((*buffer)[before+n:], "\r\n")
				piece = (*buffer)[:before+n+after]
			} else {
				left -= int64(n)
			}
			if _, err := w.Write(piece); err != nil {
				return err
			}
			w.extend()
		}
		switch {
		case errors.Is(err, io.EOF) && left <= 0:
			left = 0
		case errors.Is(err, ErrInterrupted):
			return err
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %w", ErrBody, io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("%w: %w", ErrBody, err)
		}
	}
	if r.Length < 0 {
		_, err := io.WriteString(w, "0\r\n\r\n")
		return err
	}
	return nil
}

// writeBoth writes a and b, in one system call if it can.
func writeBoth(w net.Conn, a, b []byte) (int, error) {
	if len(b) == 0 {
		return w.Write(a)
	}
	if cap(a)-len(a) >= len(b) {
		return w.Write(append(a, b...))
	}
	both := net.Buffers{a, b}
	n, err := both.WriteTo(w)
	return int(n), err
}

// Buffers of 64 KiB for copying.
const bufferSize = 64 << 10

var (
	bufferPool = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}
	headPool   = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}
)

// BorrowBuffer returns a buffer for copying a body.
func BorrowBuffer() *[]byte { return bufferPool.Get().(*[]byte) }

// ReturnBuffer gives a buffer back; it must not be used any more.
func ReturnBuffer(b *[]byte) { bufferPool.Put(b) }

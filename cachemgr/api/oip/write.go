package oip

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// Message is a request or response ready to be written: a header in a pooled
// buffer, and the data of the tensors where they are.
type Message struct {
	header *buffer.Buffer
	parts  [][]byte // the header, then the data that follows it
	size   int64
	binary bool
}

// Size is the length of the message in bytes, for Content-Length.
func (m *Message) Size() int64 { return m.size }

// HeaderSize is the value of HeaderLength, -1 if the message must not have that
// header, because it is JSON alone.
func (m *Message) HeaderSize() int64 {
	if !m.binary {
		return -1
	}
	return int64(len(m.parts[0]))
}

// ContentType is ContentBinary or ContentJSON.
func (m *Message) ContentType() string {
	if m.binary {
		return ContentBinary
	}
	return ContentJSON
}

// WriteTo writes the message; it may be called again.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for _, p := range m.parts {
		n, err := w.Write(p)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Parts is the message in pieces, none of which may be changed.
func (m *Message) Parts() [][]byte { return slices.Clone(m.parts) }

// Release gives the header's buffer back. Nobody may be writing the message.
func (m *Message) Release() {
	m.header.Release()
	m.header, m.parts = nil, nil
}

// EncodeRequest makes a message of r, its inputs all as binary data or all as
// JSON; ErrNotText names one that cannot be that. The message refers to their
// data until it is released.
func (c *Codec) EncodeRequest(r *Request, binary bool) (*Message, error) {
	room := int64(0)
	if !binary {
		room = textRoom(r.Inputs, func(string) bool { return false })
	}
	m := c.newMessage(len(r.Inputs), room)
	b := append(m.header.Data[:0], '{')
	if r.ID != "" {
		b = append(b, `"id":`...)
		b = appendString(b, r.ID)
		b = append(b, ',')
	}
	if r.BinaryOutputs {
		b = append(b, `"parameters":{"binary_data_output":true},`...)
	}
	b, err := m.appendTensors(b, "inputs", r.Inputs, r.Places, func(string) bool { return binary })
	if err != nil {
		m.header.Release()
		return nil, err
	}
	for i, o := range r.Outputs {
		b = append(b, separator(i, `,"outputs":[`)...)
		b = append(b, `{"name":`...)
		b = append(appendString(b, o.Name), ',')
		if o.Place.Shared() {
			b = append(o.Place.append(b), '}')
			continue
		}
		b = append(b, `"parameters":{"binary_data":`...)
		b = strconv.AppendBool(b, o.Binary)
		b = append(b, "}}"...)
	}
	if len(r.Outputs) > 0 {
		b = append(b, ']')
	}
	return m.finish(append(b, '}')), nil
}

// EncodeResponse makes a message of r; binary says which outputs are sent as
// binary data (Request.WantsBinary). ErrNotText names an output that cannot be
// sent as JSON. The message refers to their data until it is released.
func (c *Codec) EncodeResponse(r *Response, binary func(name string) bool) (*Message, error) {
	m := c.newMessage(len(r.Outputs), r.TextRoom(binary))
	b := append(m.header.Data[:0], `{"model_name":`...)
	b = appendString(b, r.Model)
	b = append(b, `,"model_version":`...)
	b = appendString(b, r.Version)
	if r.ID != "" {
		b = append(b, `,"id":`...)
		b = appendString(b, r.ID)
	}
	b, err := m.appendTensors(append(b, ','), "outputs", r.Outputs, r.Places, binary)
	if err != nil {
		m.header.Release()
		return nil, err
	}
	return m.finish(append(b, '}')), nil
}

// usualHeader is enough for the header of a message with a few binary tensors.
const usualHeader = 4 << 10

// newMessage sets room aside for elements in the header, so that a large one is
// not copied as it grows.
func (c *Codec) newMessage(tensors int, room int64) *Message {
	return &Message{header: c.Buffers.Get(int(usualHeader + room)), parts: make([][]byte, 1, 1+tensors)}
}

// finish closes the message; header may have outgrown the buffer.
func (m *Message) finish(header []byte) *Message {
	m.parts[0] = header
	for _, p := range m.parts {
		m.size += int64(len(p))
	}
	return m
}

// separator is first before the first element of a list, then a comma.
func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

// appendTensors appends the field with all tensors.
func (m *Message) appendTensors(b []byte, field string, tensors []tensor.Tensor, places []Place, binary func(string) bool) ([]byte, error) {
	b = append(b, '"')
	b = append(b, field...)
	b = append(b, `":[`...)
	for i := range tensors {
		t := &tensors[i]
		b = append(b, separator(i, "")...)
		b = append(b, `{"name":`...)
		b = appendString(b, t.Name)
		b = append(b, `,"datatype":"`...)
		b = append(b, t.Datatype...)
		b = append(b, `","shape":[`...)
		for j, dim := range t.Shape {
			b = append(b, separator(j, "")...)
			b = strconv.AppendInt(b, dim, 10)
		}
		if p := placeOf(places, i); p.Shared() {
			b = append(p.append(append(b, "],"...)), '}')
			continue
		}
		if binary(t.Name) {
			m.binary = true
			m.parts = append(m.parts, t.Data)
			b = append(b, `],"parameters":{"binary_data_size":`...)
			b = strconv.AppendInt(b, int64(len(t.Data)), 10)
			b = append(b, "}}"...)
			continue
		}
		var err error
		if b, err = appendElements(append(b, `],"data":[`...), t); err != nil {
			return nil, fmt.Errorf("%q: %w", t.Name, err)
		}
		b = append(b, "]}"...)
	}
	return append(b, ']'), nil
}

// appendElements appends the elements of t, comma between them.
func appendElements(b []byte, t *tensor.Tensor) ([]byte, error) {
	if t.Datatype == tensor.Bytes {
		return appendStrings(b, t.Data)
	}
	size := t.Datatype.Size()
	for i := 0; size > 0 && i+size <= len(t.Data); i += size {
		b = append(b, separator(i, "")...)
		var err error
		if b, err = appendElement(b, t.Datatype, t.Data[i:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendElement(b []byte, d tensor.Datatype, data []byte) ([]byte, error) {
	le := binary.LittleEndian
	switch d {
	case tensor.FP32:
		return appendFloat(b, float64(math.Float32frombits(le.Uint32(data))), 32)
	case tensor.FP64:
		return appendFloat(b, math.Float64frombits(le.Uint64(data)), 64)
	case tensor.Bool:
		return strconv.AppendBool(b, data[0] != 0), nil
	case tensor.Int8:
		return strconv.AppendInt(b, int64(int8(data[0])), 10), nil
	case tensor.Int16:
		return strconv.AppendInt(b, int64(int16(le.Uint16(data))), 10), nil
	case tensor.Int32:
		return strconv.AppendInt(b, int64(int32(le.Uint32(data))), 10), nil
	case tensor.Int64:
		return strconv.AppendInt(b, int64(le.Uint64(data)), 10), nil
	case tensor.Uint8:
		return strconv.AppendUint(b, uint64(data[0]), 10), nil
	case tensor.Uint16:
		return strconv.AppendUint(b, uint64(le.Uint16(data)), 10), nil
	case tensor.Uint32:
		return strconv.AppendUint(b, uint64(le.Uint32(data)), 10), nil
	case tensor.Uint64:
		return strconv.AppendUint(b, le.Uint64(data), 10), nil
	}
	return nil, fmt.Errorf("%s %w", d, ErrNotText)
}

func appendFloat(b []byte, v float64, bits int) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("the value %v %w", v, ErrNotText)
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits), nil
}

func appendStrings(b, data []byte) ([]byte, error) {
	for i := 0; len(data) > 0; i++ {
		value, rest, err := cutString(data)
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(value) {
			return nil, fmt.Errorf("string %d, which is not UTF-8, %w", i, ErrNotText)
		}
		b = append(b, separator(i, "")...)
		b = appendString(b, string(value))
		data = rest
	}
	return b, nil
}

// appendString appends s as a JSON string; what is not valid UTF-8 in it becomes
// the replacement character.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

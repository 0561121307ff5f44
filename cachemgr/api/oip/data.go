package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// elements reads the elements of a tensor from JSON, which may be one flat array
// or arrays nested as the shape is.
type elements struct {
	s     *scanner
	entry *entry
	out   []byte // what was read so far
	read  int64
}

// room is how many bytes the elements in e's text need at most.
func (e *entry) room() int64 {
	if e.datatype == tensor.Bytes {
		return 4*e.elements + int64(len(e.text))
	}
	return e.elements * int64(e.datatype.Size())
}

// readText writes the elements in e's text to out, which has no length yet and
// the capacity of e.room().
func (e *entry) readText(out []byte) ([]byte, error) {
	r := &elements{s: &scanner{text: e.text}, entry: e, out: out}
	shape := []int64{e.elements}
	if r.nested() {
		shape = e.shape
	}
	if err := r.array(shape); err != nil {
		return nil, err
	}
	return r.out, r.s.end()
}

// nested reports whether the data is nested as the shape: for a shape of more
// than one dimension, whether its first element is an array.
func (r *elements) nested() bool {
	if len(r.entry.shape) < 2 {
		return false
	}
	ahead := *r.s
	return ahead.take('[') && ahead.peek() == '['
}

// array reads one array, which has the shape given.
func (r *elements) array(shape []int64) error {
	n := int64(0)
	err := r.s.array(func() error {
		if n++; n > shape[0] {
			return r.wrongLength(shape[0])
		}
		if len(shape) > 1 {
			return r.array(shape[1:])
		}
		return r.element()
	})
	if err == nil && n < shape[0] {
		return r.wrongLength(shape[0])
	}
	return err
}

func (r *elements) wrongLength(want int64) error {
	return malformed("an array of its data has not the %d elements that shape %v wants there", want, r.entry.shape)
}

// element reads one element.
func (r *elements) element() error {
	switch r.entry.datatype {
	case tensor.FP32, tensor.FP64:
		return r.float()
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		return r.signed()
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		return r.unsigned()
	case tensor.Bool:
		v, err := r.s.boolean()
		bit := byte(0)
		if v {
			bit = 1
		}
		r.out = append(r.out, bit)
		return err
	case tensor.Bytes:
		return r.text()
	}
	return malformed("%s can be sent as binary data only", r.entry.datatype)
}

func (r *elements) float() error {
	text, err := r.s.number()
	if err != nil {
		return err
	}
	bits := r.entry.datatype.Size() * 8
	v, err := strconv.ParseFloat(string(text), bits)
	if err != nil {
		return r.outOfRange(text)
	}
	if bits == 32 {
		r.out = binary.LittleEndian.AppendUint32(r.out, math.Float32bits(float32(v)))
	} else {
		r.out = binary.LittleEndian.AppendUint64(r.out, math.Float64bits(v))
	}
	return nil
}

func (r *elements) signed() error {
	text, err := r.s.number()
	if err != nil {
		return err
	}
	size := r.entry.datatype.Size()
	v, err := strconv.ParseInt(string(text), 10, size*8)
	if err != nil {
		return r.outOfRange(text)
	}
	r.fixed(uint64(v), size)
	return nil
}

func (r *elements) unsigned() error {
	text, err := r.s.number()
	if err != nil {
		return err
	}
	size := r.entry.datatype.Size()
	v, err := strconv.ParseUint(string(text), 10, size*8)
	if err != nil {
		return r.outOfRange(text)
	}
	r.fixed(v, size)
	return nil
}

// fixed appends the low bytes of v.
func (r *elements) fixed(v uint64, size int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	r.out = append(r.out, b[:size]...)
}

func (r *elements) text() error {
	raw, err := r.s.quoted()
	if err != nil {
		return err
	}
	at := len(r.out)
	r.out = appendUnquoted(append(r.out, 0, 0, 0, 0), raw)
	binary.LittleEndian.PutUint32(r.out[at:], uint32(len(r.out)-at-4))
	return nil
}

func (r *elements) outOfRange(text []byte) error {
	if len(text) > 40 {
		text = text[:40]
	}
	return malformed("%s is not a value of %s", text, r.entry.datatype)
}

// CheckData finds values in the data of a tensor that its datatype does not have,
// and of strings whether there are as many as its shape says: what is checked of
// binary data when it is read. The error is ErrMalformed.
func CheckData(t *tensor.Tensor) error {
	n, err := tensor.ByteSize(tensor.Uint8, t.Shape)
	if err != nil {
		return malformed("%v", err)
	}
	return checkBinary(t, n)
}

// checkBinary finds values in binary data that the datatype does not have.
func checkBinary(t *tensor.Tensor, elements int64) error {
	switch t.Datatype {
	case tensor.Bool:
		for i, b := range t.Data {
			if b > 1 {
				return malformed("element %d is %d, a BOOL is 0 or 1", i, b)
			}
		}
	case tensor.Bytes:
		n := int64(0)
		for rest := t.Data; len(rest) > 0; n++ {
			_, after, err := cutString(rest)
			if err != nil {
				return fmt.Errorf("string %d: %w", n, err)
			}
			rest = after
		}
		if n != elements {
			return malformed("it has %d strings, shape %v wants %d", n, t.Shape, elements)
		}
	}
	return nil
}

// cutString splits the first string off the data of a BYTES tensor.
func cutString(data []byte) (value, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, malformed("its length is cut off")
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if n > int64(len(data)-4) {
		return nil, nil, malformed("it has %d bytes, only %d follow", n, len(data)-4)
	}
	return data[4 : 4+n], data[4+n:], nil
}

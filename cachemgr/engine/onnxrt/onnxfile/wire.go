package onnxfile

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a protobuf message. bytes is set for the wire type of
// strings and messages, varint for that of integers; a field of another wire
// type than its number should have is skipped, as protobuf parsers do.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	bytes  []byte
	varint uint64
}

func (f field) isBytes(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.BytesType
}

func (f field) isVarint(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.VarintType
}

var errNoONNX = errors.New("it is no ONNX file, or a truncated one")

// each visits the fields of a message in order. Nothing is copied.
func each(msg []byte, visit func(field) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errNoONNX
		}
		msg = msg[n:]
		f := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(msg)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(msg)
		default:
			n = protowire.ConsumeFieldValue(num, typ, msg)
		}
		if n < 0 {
			return errNoONNX
		}
		msg = msg[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// appendInts appends the values of a repeated integer field, packed or not, as
// long as there are fewer than most.
func appendInts(dst []int64, f field, most int) []int64 {
	if f.typ == protowire.VarintType {
		if len(dst) < most {
			dst = append(dst, int64(f.varint))
		}
		return dst
	}
	for b := f.bytes; len(b) > 0 && len(dst) < most; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return dst
		}
		dst, b = append(dst, int64(v)), b[n:]
	}
	return dst
}

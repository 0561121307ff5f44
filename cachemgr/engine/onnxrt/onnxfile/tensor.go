package onnxfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// This file reads the messages that hold no others of the graph: tensors, and the
// declarations of their types.

// declaration is a ValueInfoProto.
type declaration struct {
	name   string
	tensor bool
	elem   int64
	ranked bool
	dims   []Dim
}

// tensorProto is a TensorProto without its data, except short lists of INT64:
// those are shapes.
type tensorProto struct {
	name string
	elem int64
	dims []int64
	ints []int64
}

// errExternal refuses a file that names others: the path would be read with the
// rights of the cache manager, and the digest would not cover it.
var errExternal = errors.New("it keeps data in another file (external data), which is not allowed; save the model as one file")

// maxShape is how many integers of a constant are kept.
const maxShape = 16

func parseTensor(msg []byte) (*tensorProto, error) {
	t := &tensorProto{}
	external := false
	var raw []byte
	err := each(msg, func(f field) error {
		switch {
		case f.num == tensorDims:
			t.dims = appendInts(t.dims, f, maxRank+1)
		case f.isVarint(tensorType):
			t.elem = int64(f.varint)
		case f.isBytes(tensorName):
			t.name = string(f.bytes)
		case f.isBytes(tensorRaw):
			raw = f.bytes
		case f.num == tensorInt64s:
			t.ints = appendInts(t.ints, f, maxShape+1)
		case f.isBytes(tensorExternal), f.isVarint(tensorLocation) && f.varint != 0:
			external = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if external {
		return nil, fmt.Errorf("tensor %q: %w", t.name, errExternal)
	}
	if len(t.dims) > maxRank {
		return nil, fmt.Errorf("tensor %q has more than %d dimensions", t.name, maxRank)
	}
	for _, d := range t.dims {
		if d < 0 {
			return nil, fmt.Errorf("tensor %q has a dimension of %d", t.name, d)
		}
	}
	if len(t.ints) > maxShape {
		t.ints = nil
	}
	if t.elem == elemInt64 && len(raw) <= 8*maxShape {
		for ; len(raw) >= 8; raw = raw[8:] {
			t.ints = append(t.ints, int64(binary.LittleEndian.Uint64(raw)))
		}
	}
	return t, nil
}

const elemInt64 = 7

func checkSparse(msg []byte) error {
	return each(msg, func(f field) error {
		if f.isBytes(sparseValues) || f.isBytes(sparseIndices) {
			_, err := parseTensor(f.bytes)
			return err
		}
		return nil
	})
}

func parseDeclaration(msg []byte) (declaration, error) {
	var d declaration
	err := each(msg, func(f field) error {
		switch {
		case f.isBytes(infoName):
			d.name = string(f.bytes)
		case f.isBytes(infoType):
			return each(f.bytes, func(f field) error {
				if !f.isBytes(typeTensor) {
					return nil
				}
				d.tensor = true
				return d.parseTensorType(f.bytes)
			})
		}
		return nil
	})
	return d, err
}

func (d *declaration) parseTensorType(msg []byte) error {
	return each(msg, func(f field) error {
		switch {
		case f.isVarint(typeElem):
			d.elem = int64(f.varint)
		case f.isBytes(typeShape):
			d.ranked = true
			return each(f.bytes, func(f field) error {
				if !f.isBytes(shapeDim) {
					return nil
				}
				if len(d.dims) == maxRank {
					return fmt.Errorf("%q has more than %d dimensions", d.name, maxRank)
				}
				return d.parseDim(f.bytes)
			})
		}
		return nil
	})
}

func (d *declaration) parseDim(msg []byte) error {
	dim := Dim{Size: -1}
	err := each(msg, func(f field) error {
		switch {
		case f.isVarint(dimSize):
			dim.Size = max(int64(f.varint), -1)
		case f.isBytes(dimName):
			dim.Name = string(f.bytes)
		}
		return nil
	})
	d.dims = append(d.dims, dim)
	return err
}

package onnxfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Field numbers of the messages that are read, by message.
const (
	modelGraph, modelOpset, modelFunctions = 7, 8, 25

	functionNode = 7

	graphNode, graphInitializer, graphInput, graphOutput, graphValueInfo, graphSparse = 1, 5, 11, 12, 13, 15

	nodeInput, nodeOutput, nodeOpType, nodeAttribute = 1, 2, 4, 5

	attrName, attrI, attrTensor, attrGraph, attrInts       = 1, 3, 5, 6, 8
	attrTensors, attrGraphs, attrSparse, attrSparseTensors = 10, 11, 22, 23

	tensorDims, tensorType, tensorInt64s, tensorName = 1, 2, 7, 8
	tensorRaw, tensorExternal, tensorLocation        = 9, 13, 14

	sparseValues, sparseIndices = 1, 2

	infoName, infoType              = 1, 2
	typeTensor, typeElem, typeShape = 1, 1, 2
	shapeDim, dimSize, dimName      = 1, 1, 2
)

// What a file may have at most, far above what models have: two bytes of it can
// take a hundred in memory, and lists are walked within lists.
const (
	maxDepth = 16      // of graphs within graphs
	maxParts = 1 << 20 // nodes, their inputs, outputs and attributes, declarations
	maxRank  = 32      // dimensions of a tensor
)

// reader collects what the main graph declares. Graphs within it are only
// checked for what they must not hold.
type reader struct {
	nodes           []node
	inputs, outputs []declaration
	values          map[string]value
	weightBytes     int64
	parts           int
}

// part counts one more thing that is kept or walked over.
func (r *reader) part() error {
	if r.parts++; r.parts > maxParts {
		return fmt.Errorf("the file has more than %d nodes, inputs, outputs and attributes", maxParts)
	}
	return nil
}

type node struct {
	op              string
	inputs, outputs []string
	attrs           []attribute
}

type attribute struct {
	name string
	i    int64
	ints []int64
	t    *tensorProto
}

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

func (r *reader) graph(msg []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("graphs are nested more than %d deep", maxDepth)
	}
	return each(msg, func(f field) error {
		if err := r.part(); err != nil {
			return err
		}
		switch {
		case f.isBytes(graphNode):
			n, err := r.node(f.bytes, depth)
			if depth == 0 {
				r.nodes = append(r.nodes, n)
			}
			return err
		case f.isBytes(graphInitializer):
			t, err := parseTensor(f.bytes)
			if err != nil {
				return err
			}
			r.initializer(t, depth)
		case f.isBytes(graphSparse):
			return checkSparse(f.bytes)
		case depth > 0:
		case f.isBytes(graphInput), f.isBytes(graphOutput), f.isBytes(graphValueInfo):
			return r.declare(f)
		}
		return nil
	})
}

func (r *reader) initializer(t *tensorProto, depth int) {
	v := value{known: true, initializer: true, elem: t.elem, dims: t.dims, ints: t.ints}
	r.weightBytes = addBytes(r.weightBytes, v.bytes())
	if depth == 0 {
		r.values[t.name] = v
	}
}

func (r *reader) declare(f field) error {
	d, err := parseDeclaration(f.bytes)
	if err != nil {
		return err
	}
	switch f.num {
	case graphInput:
		r.inputs = append(r.inputs, d)
	case graphOutput:
		r.outputs = append(r.outputs, d)
	}
	if _, ok := r.values[d.name]; !ok && d.ranked {
		v := value{known: true, elem: d.elem}
		for _, n := range d.dims {
			v.dims = append(v.dims, n.Size)
		}
		r.values[d.name] = v
	}
	return nil
}

// function checks the body of an operator that the file itself defines.
func (r *reader) function(msg []byte) error {
	return each(msg, func(f field) error {
		if !f.isBytes(functionNode) {
			return nil
		}
		_, err := r.node(f.bytes, 1)
		return err
	})
}

func (r *reader) node(msg []byte, depth int) (node, error) {
	var n node
	err := each(msg, func(f field) error {
		if err := r.part(); err != nil {
			return err
		}
		switch {
		case f.isBytes(nodeInput):
			n.inputs = append(n.inputs, string(f.bytes))
		case f.isBytes(nodeOutput):
			n.outputs = append(n.outputs, string(f.bytes))
		case f.isBytes(nodeOpType):
			n.op = string(f.bytes)
		case f.isBytes(nodeAttribute):
			a, err := r.attribute(f.bytes, depth)
			if err != nil {
				return err
			}
			n.attrs = append(n.attrs, a)
		}
		return nil
	})
	return n, err
}

// maxInts is how many integers of an attribute are kept: of pads there are two for
// each dimension. Other operators have lists of any length.
const maxInts = 2 * maxRank

func (r *reader) attribute(msg []byte, depth int) (attribute, error) {
	var a attribute
	err := each(msg, func(f field) (err error) {
		switch {
		case f.isBytes(attrName):
			a.name = string(f.bytes)
		case f.isVarint(attrI):
			a.i = int64(f.varint)
		case f.num == attrInts:
			a.ints = appendInts(a.ints, f, maxInts)
		case f.isBytes(attrTensor):
			a.t, err = parseTensor(f.bytes)
		case f.isBytes(attrTensors):
			_, err = parseTensor(f.bytes)
		case f.isBytes(attrGraph), f.isBytes(attrGraphs):
			err = r.graph(f.bytes, depth+1)
		case f.isBytes(attrSparse), f.isBytes(attrSparseTensors):
			err = checkSparse(f.bytes)
		}
		return err
	})
	return a, err
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

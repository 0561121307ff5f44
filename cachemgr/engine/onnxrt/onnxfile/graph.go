package onnxfile

import "fmt"

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

package oip

import (
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

const (
	maxRank    = 32   // dimensions of a tensor
	maxTensors = 1024 // in one message
)

// header is the JSON part of a request or a response.
type header struct {
	kind    string // what its tensors are: "input" or "output"
	id      string
	model   string
	version string
	tensors []entry
	wanted  []wish
	binary  bool // parameter binary_data_output
}

// entry is a tensor in a header.
type entry struct {
	name     string
	datatype tensor.Datatype
	unknown  string // the datatype given, if it is none
	shape    []int64
	text     []byte // its elements in JSON; nil: they are elsewhere
	size     int64  // of its binary data; -1: it has none
	place    Place  // in shared memory
	elements int64
}

// wish is an output that a request names.
type wish struct {
	name     string
	binary   bool
	explicit bool // it has the parameter binary_data
	place    Place
}

// parseRequest reads the header of a request.
func parseRequest(text []byte) (*header, error) {
	h, s := &header{kind: "input"}, &scanner{text: text}
	inputs := false
	err := s.fields(
		field{"id", func() (err error) { h.id, err = s.str(); return }},
		field{"inputs", func() error { inputs = true; return s.array(func() error { return h.tensor(s) }) }},
		field{"outputs", func() error { return s.array(func() error { return h.wish(s) }) }},
		field{"parameters", func() error {
			return s.fields(field{"binary_data_output", func() (err error) { h.binary, err = s.boolean(); return }})
		}},
	)
	if err == nil && !inputs {
		err = malformed(`the request has no "inputs"`)
	}
	if err != nil {
		return nil, err
	}
	return h, s.end()
}

// parseResponse reads the header of a response.
func parseResponse(text []byte) (*header, error) {
	h, s := &header{kind: "output"}, &scanner{text: text}
	outputs := false
	err := s.fields(
		field{"model_name", func() (err error) { h.model, err = s.str(); return }},
		field{"model_version", func() (err error) { h.version, err = s.str(); return }},
		field{"id", func() (err error) { h.id, err = s.str(); return }},
		field{"outputs", func() error { outputs = true; return s.array(func() error { return h.tensor(s) }) }},
	)
	if err == nil && !outputs {
		err = malformed(`the response has no "outputs"`)
	}
	if err != nil {
		return nil, err
	}
	return h, s.end()
}

// tensor reads one element of "inputs", or of "outputs" in a response.
func (h *header) tensor(s *scanner) error {
	if len(h.tensors) == maxTensors {
		return malformed("more than %d %ss", maxTensors, h.kind)
	}
	e := entry{size: -1}
	err := s.fields(
		field{"name", func() (err error) { e.name, err = s.str(); return }},
		field{"datatype", func() error {
			name, err := s.quoted()
			if e.datatype = datatype(name); e.datatype == "" {
				e.unknown = string(name)
			}
			return err
		}},
		field{"shape", func() error { return e.parseShape(s) }},
		field{"data", func() (err error) { e.text, err = s.skip(); return }},
		field{"parameters", func() error {
			return s.fields(
				field{"binary_data_size", func() (err error) { e.size, err = s.integer(); return }},
				field{placeRegion, func() (err error) { e.place.Region, err = s.str(); return }},
				field{placeOffset, func() (err error) { e.place.Offset, err = s.integer(); return }},
				field{placeSize, func() (err error) { e.place.Size, err = s.integer(); return }},
			)
		}},
	)
	if err != nil {
		return h.place(e.name, err)
	}
	if err := e.check(); err != nil {
		return h.place(e.name, err)
	}
	for i := range h.tensors {
		if h.tensors[i].name == e.name {
			return h.place(e.name, malformed("the name is there twice"))
		}
	}
	h.tensors = append(h.tensors, e)
	return nil
}

// place says which tensor an error is about.
func (h *header) place(name string, err error) error {
	if name == "" {
		return fmt.Errorf("%s %d: %w", h.kind, len(h.tensors), err)
	}
	return fmt.Errorf("%s %q: %w", h.kind, name, err)
}

// parseShape reads the dimensions.
func (e *entry) parseShape(s *scanner) error {
	e.shape = make([]int64, 0, 4)
	return s.array(func() error {
		if len(e.shape) == maxRank {
			return malformed("the shape has more than %d dimensions", maxRank)
		}
		dim, err := s.integer()
		e.shape = append(e.shape, dim)
		return err
	})
}

// check holds the fields of a tensor against one another.
func (e *entry) check() error {
	switch {
	case e.name == "":
		return malformed("it has no name")
	case e.datatype == "":
		return malformed("it has no datatype: %.20q is none of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64, BF16, BYTES", e.unknown)
	case e.shape == nil:
		return malformed("it has no shape")
	case e.size < -1:
		return malformed("binary_data_size is negative")
	case e.size >= 0 && e.text != nil:
		return malformed(`it has both "data" and binary_data_size`)
	case e.place.Shared() && (e.size >= 0 || e.text != nil):
		return malformed(`it has both shared_memory_region and "data" or binary_data_size`)
	case e.size < 0 && e.text == nil && !e.place.Shared():
		return malformed(`it has neither "data" nor binary_data_size nor shared_memory_region`)
	case e.text != nil && (e.datatype == tensor.FP16 || e.datatype == tensor.BF16):
		return malformed("%s can be sent as binary data only", e.datatype)
	}
	if err := e.place.check(); err != nil {
		return err
	}
	return e.count()
}

// bytes is how many the message has for a tensor that is not in its text, and by
// which parameter.
func (e *entry) bytes() (int64, string) {
	if e.place.Shared() {
		return e.place.Size, "shared_memory_byte_size"
	}
	return e.size, "binary_data_size"
}

// count finds the number of elements and checks that the data can hold them, so
// that memory is asked for only in proportion to what was sent.
func (e *entry) count() error {
	n, err := tensor.ByteSize(tensor.Uint8, e.shape)
	if err != nil {
		return malformed("%v", err)
	}
	e.elements = n
	if e.text != nil {
		// The shortest elements are digits, with commas between them and brackets
		// around them.
		if n > int64(len(e.text)-1)/2 {
			return malformed("shape %v has %d elements, the data is too short for that", e.shape, n)
		}
		return nil
	}
	have, parameter := e.bytes()
	if e.datatype == tensor.Bytes {
		// An element is a length of 4 bytes at least.
		if n > have/4 {
			return malformed("shape %v has %d strings, %s %d is too small for that", e.shape, n, parameter, have)
		}
		return nil
	}
	want, err := tensor.ByteSize(e.datatype, e.shape)
	if err != nil {
		return malformed("%v", err)
	}
	if want != have {
		return malformed("%s of shape %v has %d bytes, %s is %d", e.datatype, e.shape, want, parameter, have)
	}
	return nil
}

// wish reads one element of "outputs" in a request.
func (h *header) wish(s *scanner) error {
	if len(h.wanted) == maxTensors {
		return malformed("more than %d outputs", maxTensors)
	}
	var w wish
	refused := ""
	err := s.fields(
		field{"name", func() (err error) { w.name, err = s.str(); return }},
		field{"parameters", func() error {
			return s.fields(
				field{"binary_data", func() (err error) { w.explicit = true; w.binary, err = s.boolean(); return }},
				field{"classification", func() error { refused = "classification is not supported"; _, err := s.skip(); return err }},
				field{placeRegion, func() (err error) { w.place.Region, err = s.str(); return }},
				field{placeOffset, func() (err error) { w.place.Offset, err = s.integer(); return }},
				field{placeSize, func() (err error) { w.place.Size, err = s.integer(); return }},
			)
		}},
	)
	switch {
	case err != nil:
	case w.name == "":
		err = malformed("it has no name")
	case refused != "":
		err = malformed("%s", refused)
	default:
		err = w.place.check()
	}
	for i := range h.wanted {
		if err == nil && h.wanted[i].name == w.name {
			err = malformed("the name is there twice")
		}
	}
	if err != nil {
		return fmt.Errorf("requested output %q: %w", w.name, err)
	}
	h.wanted = append(h.wanted, w)
	return nil
}

// outputs are the wishes, those without one of their own as the request says.
func (h *header) outputs() []Output {
	if len(h.wanted) == 0 {
		return nil
	}
	out := make([]Output, len(h.wanted))
	for i, w := range h.wanted {
		out[i] = Output{Name: w.name, Place: w.place, Binary: !w.place.Shared() && (w.binary || !w.explicit && h.binary)}
	}
	return out
}

// datatype is the known datatype of that name, "" if there is none.
func datatype(name []byte) tensor.Datatype {
	for _, d := range []tensor.Datatype{
		tensor.FP32, tensor.Int64, tensor.Uint8, tensor.Int32, tensor.FP16, tensor.BF16, tensor.FP64,
		tensor.Bool, tensor.Bytes, tensor.Int8, tensor.Int16, tensor.Uint16, tensor.Uint32, tensor.Uint64,
	} {
		if string(d) == string(name) {
			return d
		}
	}
	return ""
}

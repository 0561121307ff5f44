package oip

import (
	"math"
	"strconv"
)

// Place is where a tensor lies in shared memory, as Triton's extension of that
// name says it. The zero value is no place: the tensor is in the message.
type Place struct {
	Region string // its name
	Offset int64  // of the first byte
	Size   int64  // bytes there are for the tensor
}

// Shared reports whether there is a place.
func (p Place) Shared() bool { return p.Region != "" }

// Parameters of a tensor that make a place.
const (
	placeRegion = "shared_memory_region"
	placeOffset = "shared_memory_offset"
	placeSize   = "shared_memory_byte_size"
)

// check finds parameters that make no place.
func (p Place) check() error {
	switch {
	case p.Region == "" && p != Place{}:
		return malformed("it has a place in shared memory without shared_memory_region")
	case p.Offset < 0:
		return malformed("shared_memory_offset is negative")
	case p.Size < 0:
		return malformed("shared_memory_byte_size is negative")
	case p.Offset > math.MaxInt64-p.Size:
		return malformed("shared_memory_offset %d and shared_memory_byte_size %d together are no number of 64 bits", p.Offset, p.Size)
	}
	return nil
}

// append writes the parameters.
func (p Place) append(b []byte) []byte {
	b = append(b, `"parameters":{"shared_memory_region":`...)
	b = appendString(b, p.Region)
	b = append(b, `,"shared_memory_offset":`...)
	b = strconv.AppendInt(b, p.Offset, 10)
	b = append(b, `,"shared_memory_byte_size":`...)
	b = strconv.AppendInt(b, p.Size, 10)
	return append(b, '}')
}

// placeOf is that of the tensor at i of a message; places is nil where none has
// one.
func placeOf(places []Place, i int) Place {
	if i < len(places) {
		return places[i]
	}
	return Place{}
}

// places are those of a message's tensors, nil if none has one.
func (h *header) places() []Place {
	var out []Place
	for i := range h.tensors {
		if p := h.tensors[i].place; p.Shared() {
			if out == nil {
				out = make([]Place, len(h.tensors))
			}
			out[i] = p
		}
	}
	return out
}

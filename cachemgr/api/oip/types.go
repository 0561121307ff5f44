package oip

import (
	"errors"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// HeaderLength is the HTTP header that says how long a message's JSON part is.
const HeaderLength = "Inference-Header-Content-Length"

// Content types of a message that is JSON alone, and of one with binary data.
const (
	ContentJSON   = "application/json"
	ContentBinary = "application/octet-stream"
)

// Request asks for an inference.
type Request struct {
	ID     string
	Inputs []tensor.Tensor
	// Places are those of the inputs in shared memory, at the same index; nil where
	// no input is there. The data of one that was read with a place is nil.
	Places []Place
	// Outputs names those that the caller wants; none means all.
	Outputs []Output
	// BinaryOutputs is the wish for outputs that Outputs does not name: true is
	// binary data, false is JSON.
	BinaryOutputs bool

	buf *buffer.Buffer
}

// Output is one that the caller wants.
type Output struct {
	Name   string
	Binary bool // as binary data, not as JSON
	// Place is where the output is to be put in shared memory; it is then not in
	// the response.
	Place Place
	// Into is for clients: if it has exactly the bytes of the output, the output
	// is put there, else into a buffer of the response.
	Into []byte
}

// Release gives the buffer of a request that was read back to its codec. Its
// tensors may not be used after that. A second Release does nothing.
func (r *Request) Release() {
	b := r.buf
	r.buf = nil
	b.Release()
}

// WantsBinary reports how the caller wants the named output.
func (r *Request) WantsBinary(name string) bool {
	for i := range r.Outputs {
		if r.Outputs[i].Name == name {
			return r.Outputs[i].Binary
		}
	}
	return r.BinaryOutputs
}

// Response answers a Request.
type Response struct {
	Model   string
	Version string
	ID      string
	Outputs []tensor.Tensor
	// Places are as Request.Places, of the outputs.
	Places []Place

	buf *buffer.Buffer
	own *buffer.Buffer // see Own
}

// Own has a buffer released with the response, one only.
func (r *Response) Own(b *buffer.Buffer) { r.own = b }

// Release is as Request.Release; tensors that were read into buffers of the
// caller stay.
func (r *Response) Release() {
	b, own := r.buf, r.own
	r.buf, r.own = nil, nil
	b.Release()
	own.Release()
}

// Output finds an output by its name, nil if there is none.
func (r *Response) Output(name string) *tensor.Tensor {
	for i := range r.Outputs {
		if r.Outputs[i].Name == name {
			return &r.Outputs[i]
		}
	}
	return nil
}

// Errors of reading. Other errors of a read are those of the reader it was given.
var (
	// ErrMalformed: the message breaks the protocol; the error says where.
	ErrMalformed = errors.New("malformed inference message")
	// ErrTooLarge: the message is longer than the codec allows.
	ErrTooLarge = errors.New("inference message too large")
	// ErrNotText: an output cannot be written as JSON (16-bit floats, strings
	// that are not UTF-8, infinities); as binary data it can.
	ErrNotText = errors.New("cannot be written as JSON, ask for binary_data")
)

// Codec reads and writes messages with buffers that it reuses. Its methods may be
// called at the same time.
type Codec struct {
	// MaxBytes is the longest message read, header and data; it also bounds what
	// the tensors of a message take in memory.
	MaxBytes int64
	// Buffers is where tensors live.
	Buffers buffer.Pool
}

// NewCodec returns a codec that reads messages of at most maxBytes.
func NewCodec(maxBytes int64) *Codec { return &Codec{MaxBytes: maxBytes} }

// SharedMemory is one element of the answer to GET /v2/systemsharedmemory/status.
type SharedMemory struct {
	Name     string `json:"name"`
	Key      string `json:"key"`    // always "": there are no keys here
	Offset   int64  `json:"offset"` // always 0: a region is a whole memfd
	ByteSize int64  `json:"byte_size"`
}

package oip

import (
	"errors"
	"fmt"
	"io"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// ReadRequest reads a request of length bytes, -1 if that is not known, of which
// the first headerLength are its JSON; -1 if all are. It reads to the end of r
// and keeps nothing of it. Errors: ErrMalformed, ErrTooLarge, and those of r;
// malformed includes a body that ends too early.
func (c *Codec) ReadRequest(r io.Reader, length, headerLength int64) (*Request, error) {
	m := &reading{codec: c, r: r, length: length, parse: parseRequest}
	h, tensors, err := m.read(headerLength, nil)
	if err != nil {
		return nil, err
	}
	return &Request{ID: h.id, Inputs: tensors, Places: h.places(), Outputs: h.outputs(), BinaryOutputs: h.binary, buf: m.data}, nil
}

// ReadResponse reads the response to a request for wanted, the buffers of which
// are used where they fit; otherwise as ReadRequest.
func (c *Codec) ReadResponse(r io.Reader, length, headerLength int64, wanted []Output) (*Response, error) {
	m := &reading{codec: c, r: r, length: length, parse: parseResponse}
	h, tensors, err := m.read(headerLength, wanted)
	if err != nil {
		return nil, err
	}
	return &Response{Model: h.model, Version: h.version, ID: h.id, Outputs: tensors, Places: h.places(), buf: m.data}, nil
}

// reading is one message on its way in.
type reading struct {
	codec  *Codec
	r      io.Reader
	length int64
	parse  func([]byte) (*header, error)
	data   *buffer.Buffer // of the tensors; nil if they need none
}

func (m *reading) read(headerLength int64, wanted []Output) (*header, []tensor.Tensor, error) {
	if err := m.checkLengths(headerLength); err != nil {
		return nil, nil, err
	}
	text, err := m.readHeader(headerLength)
	if err != nil {
		return nil, nil, err
	}
	// The header's text is needed until the elements in it are read.
	defer text.Release()
	h, err := m.parse(text.Data)
	if err != nil {
		return nil, nil, err
	}
	tensors, err := m.readTensors(h, int64(len(text.Data)), headerLength >= 0, wanted)
	if err != nil {
		m.data.Release()
		return nil, nil, err
	}
	return h, tensors, nil
}

func (m *reading) checkLengths(headerLength int64) error {
	limit := m.codec.MaxBytes
	switch {
	case m.length > limit:
		return fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, m.length, limit)
	case headerLength > limit:
		return fmt.Errorf("%w: a header of %d bytes, at most %d are taken", ErrTooLarge, headerLength, limit)
	case m.length >= 0 && headerLength > m.length:
		return malformed("%s is %d, the body has %d bytes", HeaderLength, headerLength, m.length)
	}
	return nil
}

// firstHeader is what is set aside for a header before any of it has come.
const firstHeader = 64 << 10

// readHeader reads the JSON part. Its buffer grows with what comes in, so that
// a large number in a header alone costs nothing.
func (m *reading) readHeader(headerLength int64) (*buffer.Buffer, error) {
	want := headerLength
	if want < 0 {
		want = m.length
	}
	// One byte over the limit shows that a body of unknown length is too long.
	most := m.codec.MaxBytes + 1
	if want >= 0 {
		most = want
	}
	b := m.codec.Buffers.Get(int(min(firstHeader, most)))
	have := 0
	for {
		n, err := io.ReadFull(m.r, b.Data[have:])
		have += n
		ended := want < 0 && (err == io.EOF || err == io.ErrUnexpectedEOF)
		switch {
		case int64(have) > m.codec.MaxBytes:
			b.Release()
			return nil, fmt.Errorf("%w: at most %d bytes are taken", ErrTooLarge, m.codec.MaxBytes)
		case int64(have) == want || ended:
			b.Data = b.Data[:have]
			return b, nil
		case err != nil:
			b.Release()
			return nil, m.cutOff(err, int64(have), want)
		}
		bigger := m.codec.Buffers.Get(int(min(2*int64(have), most)))
		copy(bigger.Data, b.Data)
		b.Release()
		b = bigger
	}
}

// cutOff is the error of a body that ended, or broke, after have of want bytes.
func (m *reading) cutOff(err error, have, want int64) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the body ends after %d of %d bytes: %w", ErrMalformed, have, want, io.ErrUnexpectedEOF)
	}
	return err
}

// readTensors reads all tensors of h, from its text or from what follows it.
func (m *reading) readTensors(h *header, headerBytes int64, binary bool, wanted []Output) ([]tensor.Tensor, error) {
	room, rest, err := m.plan(h, headerBytes, binary, wanted)
	if err != nil {
		return nil, err
	}
	if room > 0 {
		m.data = m.codec.Buffers.Get(int(room))
	}
	tensors := make([]tensor.Tensor, len(h.tensors))
	at := int64(0)
	for i := range h.tensors {
		e, t := &h.tensors[i], &tensors[i]
		*t = tensor.Tensor{Name: e.name, Datatype: e.datatype, Shape: e.shape}
		if e.place.Shared() {
			continue
		}
		place := into(e, wanted)
		switch need := e.need(); {
		case place != nil:
		case need == 0:
			place = []byte{} // no elements, which is not the same as no data
		default:
			place = m.data.Data[at : at+need : at+need]
			at += buffer.RoundUp(need)
		}
		if err := m.readTensor(e, t, place); err != nil {
			return nil, h.place(e.name, err)
		}
	}
	return tensors, m.readEnd(headerBytes + rest)
}

// readTensor fills one tensor, in the place for it.
func (m *reading) readTensor(e *entry, t *tensor.Tensor, place []byte) (err error) {
	if e.text != nil {
		t.Data, err = e.readText(place[:0])
		return err
	}
	t.Data = place
	if n, err := io.ReadFull(m.r, place); err != nil {
		return m.cutOff(err, int64(n), e.size)
	}
	return checkBinary(t, e.elements)
}

// need is how many bytes a tensor takes at most, here or in shared memory.
func (e *entry) need() int64 {
	if e.text != nil {
		return e.room()
	}
	have, _ := e.bytes()
	return have
}

// plan adds up what the tensors need in the buffer, and what follows the header.
func (m *reading) plan(h *header, headerBytes int64, binary bool, wanted []Output) (room, rest int64, err error) {
	total := int64(0)
	for i := range h.tensors {
		e := &h.tensors[i]
		if e.size >= 0 && !binary {
			return 0, 0, h.place(e.name, malformed("it has binary_data_size, but the message has no %s", HeaderLength))
		}
		// Elements in JSON may take several times the bytes of their text.
		need := e.need()
		if total += min(need, m.codec.MaxBytes+1); total > m.codec.MaxBytes {
			return 0, 0, h.place(e.name, fmt.Errorf("%w: the tensors up to this one take more than %d bytes", ErrTooLarge, m.codec.MaxBytes))
		}
		rest += max(e.size, 0)
		if !e.place.Shared() && into(e, wanted) == nil {
			room += buffer.RoundUp(need)
		}
	}
	switch {
	case m.length >= 0 && headerBytes+rest != m.length:
		return 0, 0, malformed("a header of %d bytes and binary data of %d bytes are not the %d bytes of the body", headerBytes, rest, m.length)
	case headerBytes+rest > m.codec.MaxBytes:
		return 0, 0, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, headerBytes+rest, m.codec.MaxBytes)
	}
	return room, rest, nil
}

// into is the caller's buffer for a tensor, nil if there is none that fits.
func into(e *entry, wanted []Output) []byte {
	for i := range wanted {
		if wanted[i].Name == e.name {
			if w := wanted[i].Into; len(w) > 0 && e.text == nil && int64(len(w)) == e.size {
				return w
			}
			return nil
		}
	}
	return nil
}

// readEnd checks that a body whose length was not known ends here.
func (m *reading) readEnd(have int64) error {
	if m.length >= 0 {
		return nil
	}
	var one [1]byte
	switch n, err := io.ReadFull(m.r, one[:]); {
	case n > 0:
		return malformed("the body goes on after its %d bytes", have)
	case err != io.EOF:
		return err
	}
	return nil
}

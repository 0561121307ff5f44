package shm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Network is the type of the socket, as package net names it.
const Network = "unixpacket"

// MaxMessage is the longest packet in bytes, a token of the usual size several
// times.
const MaxMessage = 4 << 10

// Operations of a Request.
const (
	OpHello      = "hello"
	OpRegister   = "register"
	OpUnregister = "unregister"
)

// Request is a packet of a client.
type Request struct {
	Op     string `json:"op"`
	Token  string `json:"token,omitempty"`  // of hello, "" without one
	Region string `json:"region,omitempty"` // of unregister
}

// Reply is a packet of the cache manager.
type Reply struct {
	Epoch  string `json:"epoch,omitempty"`     // after hello: of this run, as in api.HeaderEpoch
	Region string `json:"region,omitempty"`    // after register
	Size   int64  `json:"byte_size,omitempty"` // after register
	Error  string `json:"error,omitempty"`
	Status int    `json:"status,omitempty"` // with Error: what it would be over HTTP
}

// ErrMalformed: a packet that is no request; the error says why.
var ErrMalformed = errors.New("malformed message")

// ParseRequest reads a packet that came with a number of descriptors.
func ParseRequest(packet []byte, descriptors int) (Request, error) {
	var r Request
	dec := json.NewDecoder(bytes.NewReader(packet))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Request{}, fmt.Errorf("%w: it is not the JSON expected: %v", ErrMalformed, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Request{}, fmt.Errorf("%w: something follows its JSON", ErrMalformed)
	}
	wanted := 0
	if r.Op == OpRegister {
		wanted = 1
	}
	switch {
	case r.Op != OpHello && r.Op != OpRegister && r.Op != OpUnregister:
		return Request{}, fmt.Errorf("%w: op %.40q is none of hello, register, unregister", ErrMalformed, r.Op)
	case descriptors != wanted:
		return Request{}, fmt.Errorf("%w: %s comes with %d descriptors, not with %d", ErrMalformed, r.Op, wanted, descriptors)
	case r.Token != "" && r.Op != OpHello:
		return Request{}, fmt.Errorf("%w: %s has no token, hello has", ErrMalformed, r.Op)
	case (r.Region != "") != (r.Op == OpUnregister):
		return Request{}, fmt.Errorf("%w: unregister names a region, and nothing else does", ErrMalformed)
	}
	return r, nil
}

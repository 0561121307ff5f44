// Package oip is the Open Inference Protocol (KServe v2) over HTTP, with
// Triton's binary-data extension: its messages, and a Codec that reads and
// writes them.
//
// A message is a JSON header, and behind it the bytes of those tensors whose
// header says binary_data_size. The length of the header is in the HTTP header
// Inference-Header-Content-Length; a message without that is JSON alone, with
// the elements of its tensors in it.
//
// A message that was read owns one pooled buffer in which its tensors lie, each
// at a multiple of 64 bytes, read straight from the connection; Release gives it
// back. What is read is checked completely: a message that passes has unique
// names, known datatypes, and exactly the bytes that its shapes need.
//
// A tensor can also lie in shared memory, by Triton's extension: its parameters
// then name a region, an offset and a size, and it has no data here. What such
// memory holds is for its reader to check (CheckData), on a copy.
//
// Elements of type BYTES are kept as the binary extension has them: each is a
// length of 4 bytes, little-endian, and that many bytes.
package oip

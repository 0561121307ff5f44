package upstream

import (
	"errors"
	"io"
	"net/http"
)

// Response is a replica's. Its Body is read through Read, piece by piece as it
// comes; Close must be called, after which the request's body is free again.
type Response struct {
	*http.Response
	x *exchange
}

// Read reads the body. An error other than io.EOF means that it ended before it
// should have: it is the context's or one of this package's.
func (r *Response) Read(p []byte) (int, error) {
	if r.x.ended {
		return 0, io.EOF
	}
	n, err := r.Body.Read(p)
	if errors.Is(err, io.EOF) {
		r.x.ended = true
		return n, io.EOF
	}
	if err != nil {
		if bodyErr := r.x.bodyErr(); bodyErr != nil {
			return n, bodyErr
		}
		return n, classify(r.x.ctx, err)
	}
	if r.left(n) == 0 {
		r.x.ended = true
		err = io.EOF
	}
	return n, err
}

// left counts down a body of known length, so that its end is seen with its last
// byte.
func (r *Response) left(n int) int64 {
	if r.ContentLength < 0 {
		return -1
	}
	r.x.read += int64(n)
	return r.ContentLength - r.x.read
}

// Close ends the exchange. The connection is used again if the response has been
// read to its end.
func (r *Response) Close() { r.x.close() }

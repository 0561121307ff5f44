package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// exchange is one request and its response on a connection.
type exchange struct {
	client  *Client
	conn    *conn
	request *Request
	ctx     context.Context
	stop    func() bool // ends the watch over ctx

	// written is closed when the goroutine that writes the body ends; nil if
	// there is none.
	written  chan struct{}
	writeErr atomic.Pointer[error]

	response *http.Response
	read     int64 // bytes of the response's body
	ended    bool  // the response has been read to its end
	closed   bool
}

// inline is the largest body that is written before the response is read: the
// sockets' buffers take it even if the replica reads nothing.
const inline = 64 << 10

// send writes the request, or at least its head.
func (x *exchange) send() error {
	head := headPool.Get().(*[]byte)
	defer headPool.Put(head)
	*head = x.request.appendHead((*head)[:0], x.conn.address)

	body := x.request.Body
	if len(body) <= inline && x.request.Stream == nil {
		return x.write(*head, body)
	}
	if err := x.write(*head, nil); err != nil {
		return err
	}
	x.written = make(chan struct{})
	go x.writeBody()
	return nil
}

// write writes head and body, in one system call.
func (x *exchange) write(head, body []byte) error {
	n, err := writeBoth(x.conn.Conn, head, body)
	if err != nil && n == 0 {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	// A replica may answer, and close, before it has read everything.
	x.setWriteErr(err)
	return nil
}

// writeBody runs beside receive.
func (x *exchange) writeBody() {
	defer close(x.written)
	if x.request.Stream == nil {
		_, err := x.conn.Write(x.request.Body)
		x.setWriteErr(err)
		return
	}
	err := x.request.copyStream(x.conn)
	x.setWriteErr(err)
	if errors.Is(err, ErrBody) {
		// The replica must not take what has come for the whole request.
		x.conn.interrupt()
	}
}

func (x *exchange) setWriteErr(err error) {
	if err != nil {
		x.writeErr.Store(&err)
	}
}

// bodyErr is ErrBody if the client's side is why the exchange failed.
func (x *exchange) bodyErr() error {
	if err := x.writeErr.Load(); err != nil && errors.Is(*err, ErrBody) {
		return *err
	}
	return nil
}

// receive reads the head of the response.
func (x *exchange) receive() (*Response, error) {
	for {
		x.conn.header = maxHeader
		response, err := http.ReadResponse(x.conn.reader, x.request.asked())
		x.conn.header = -1
		if err != nil {
			return nil, err
		}
		switch {
		case response.StatusCode >= 200:
			x.response = response
			x.ended = response.ContentLength == 0
			return &Response{Response: response, x: x}, nil
		case response.StatusCode == http.StatusSwitchingProtocols:
			if err := x.request.switched(response); err != nil {
				return nil, err
			}
			x.response = response
			return &Response{Response: response, x: x}, nil
		case response.StatusCode < 100:
			return nil, fmt.Errorf("%w: it answered with status %d", ErrFailed, response.StatusCode)
		}
		// 100 and 103 announce something.
	}
}

// fail ends an exchange without a response.
func (x *exchange) fail(err error) error {
	x.stop()
	x.conn.Close()
	x.endWriter()
	if bodyErr := x.bodyErr(); bodyErr != nil {
		return bodyErr
	}
	return classify(x.ctx, err)
}

// endWriter waits for the goroutine that writes the body, after the connection
// has been closed.
func (x *exchange) endWriter() {
	if x.written == nil {
		return
	}
	select {
	case <-x.written:
		return
	default:
	}
	if x.request.Interrupt != nil {
		x.request.Interrupt()
	}
	<-x.written
}

// close ends the exchange and keeps the connection if it can be used again.
func (x *exchange) close() {
	if x.closed {
		return
	}
	x.closed = true
	if x.ended && x.writeDone() && !x.response.Close && x.conn.reader.Buffered() == 0 && x.stop() {
		x.client.keep(x.conn)
		return
	}
	x.stop()
	x.conn.Close()
	x.endWriter()
}

// lastWords is how long the goroutine that writes the body gets to return when
// the response has already been read: a replica answers once it has everything.
const lastWords = 5 * time.Millisecond

// writeDone reports whether the whole request has been written.
func (x *exchange) writeDone() bool {
	if x.written != nil {
		select {
		case <-x.written:
		case <-time.After(lastWords):
			return false
		}
	}
	return x.writeErr.Load() == nil
}

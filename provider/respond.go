package provider

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

// retryAfter is what a client that was refused is told to wait, in whole seconds.
func retryAfter(err error) string {
	if late, ok := tooLate(err); ok {
		return strconv.Itoa(int(max(time.Second, late.After+time.Second-1) / time.Second))
	}
	return "1"
}

// respond copies a replica's response to the client, each piece as it comes. If
// the replica breaks off, so does the connection to the client: half an answer
// must not look like a whole one.
func (v *invocation) respond(response *upstream.Response) {
	if response.StatusCode == http.StatusSwitchingProtocols {
		v.tunnel(response)
		return
	}
	h := v.w.Header()
	upstream.StripHopByHop(response.Header)
	for name, values := range response.Header {
		h[name] = values
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // none was sent, none is to be guessed
	}
	if _, ok := h[api.HeaderCallID]; !ok {
		h[api.HeaderCallID] = []string{v.callID}
	}
	if v.bodyToCome() {
		h["Connection"] = []string{"close"}
	}
	v.status = response.StatusCode
	v.w.WriteHeader(v.status)
	if err := v.copyBody(response); err != nil {
		v.status = httpStatus(err)
		if !errors.Is(err, context.Canceled) {
			v.p.cfg.Log.Error("response broke off", "function", v.function.Key, "call_id", v.callID, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	for name, values := range response.Trailer {
		h[http.TrailerPrefix+name] = values
	}
}

// smallAnswer is the size of an answer in bytes that the server takes without
// waiting for the client.
const smallAnswer = 2 << 10

// mayLast reports whether an answer may go on for long after its head.
func mayLast(response *upstream.Response) bool {
	return response.ContentLength < 0 || response.ContentLength > smallAnswer || response.StatusCode == http.StatusSwitchingProtocols
}

func (v *invocation) copyBody(response *upstream.Response) error {
	if response.ContentLength == 0 {
		return nil
	}
	buffer := upstream.BorrowBuffer()
	defer upstream.ReturnBuffer(buffer)
	rc := http.NewResponseController(v.w)
	if response.ContentLength < 0 {
		rc.Flush() // the client may wait for the head alone
	}
	timed := false
	defer func() {
		if timed {
			rc.SetWriteDeadline(time.Time{})
		}
	}()
	for {
		n, err := response.Read(*buffer)
		if n > 0 {
			if timed = timed || n > smallAnswer || err == nil; timed {
				// A client that takes nothing would keep the replica busy for ever.
				rc.SetWriteDeadline(time.Now().Add(v.p.cfg.Limits.BodyTimeout))
			}
			if _, err := v.w.Write((*buffer)[:n]); err != nil {
				return context.Canceled // the client has gone
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := rc.Flush(); err != nil {
			return context.Canceled
		}
	}
}

// refuse answers an invocation that no function has answered.
func (v *invocation) refuse(err error) {
	v.status = httpStatus(err)
	_, v.refused = tooLate(err)
	if v.status == statusClientGone {
		panic(http.ErrAbortHandler) // to return would be to answer 200
	}
	h := v.w.Header()
	h.Set(headerInternal, "proxy")
	more := v.bodyToCome()
	if more {
		// Otherwise the server would wait for the rest before it answers.
		h.Set("Connection", "close")
	}
	h.Set(api.HeaderCallID, v.callID)
	h.Set(headerDuration, strconv.FormatFloat(time.Since(v.began).Seconds(), 'f', 6, 64))
	if v.status == http.StatusServiceUnavailable || v.status == http.StatusTooManyRequests {
		h.Set("Retry-After", retryAfter(err))
	}
	if v.status >= http.StatusInternalServerError && !v.refused {
		v.p.cfg.Log.Warn("invocation failed", "function", v.target.id.String(), "status", v.status, "call_id", v.callID, "error", err)
	}
	http.Error(v.w, "function "+v.target.id.String()+": "+err.Error(), v.status)
	if more && !errors.Is(err, errSlowBody) && !errors.Is(err, errShortBody) {
		v.linger()
	}
}

// lingerFor is how long a client that was refused may go on sending.
const lingerFor = 500 * time.Millisecond

// linger reads what a client still sends, for a moment: if the connection were
// closed on it at once, it might lose the answer.
func (v *invocation) linger() {
	rc := http.NewResponseController(v.w)
	if rc.Flush() != nil || rc.SetReadDeadline(time.Now().Add(lingerFor)) != nil {
		return
	}
	buffer := upstream.BorrowBuffer()
	defer upstream.ReturnBuffer(buffer)
	io.CopyBuffer(io.Discard, v.r.Body, *buffer)
}

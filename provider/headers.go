package provider

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/google/uuid"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/upstream"
)

const (
	headerStart         = "X-Start-Time" // nanoseconds since 1970
	headerForwardedFor  = "X-Forwarded-For"
	headerForwardedHost = "X-Forwarded-Host"
	headerDuration      = "X-Duration-Seconds"
	// headerInternal marks answers that no function gave.
	headerInternal = "X-Openfaas-Internal"

	maxFields = 8
)

// prepare makes the request to a replica.
func (v *invocation) prepare(b *body, lease *dispatch.Lease) {
	in := v.r.Header
	start := in.Get(headerStart)
	if start == "" {
		start = strconv.FormatInt(v.began.UnixNano(), 10)
	}
	slo := ""
	if left := lease.Left(); left > 0 {
		slo = left.String() // the next hop counts from its own arrival
	}
	fallback := in.Get(api.HeaderFallback)
	if fallback == "" {
		fallback = v.function.Spec.GPU.Fallback
	}
	host := in.Get(headerForwardedHost)
	if host == "" {
		host = v.r.Host
	}
	v.fields = [maxFields]upstream.Field{
		{Name: api.HeaderCallID, Value: v.callID},
		{Name: headerStart, Value: start},
		{Name: headerForwardedFor, Value: forwardedFor(in[headerForwardedFor], v.r.RemoteAddr)},
		{Name: headerForwardedHost, Value: host},
		{Name: api.HeaderSLO, Value: slo},
		{Name: api.HeaderFallback, Value: fallback},
		{Name: api.HeaderDeviceHint, Value: lease.Device}, // a client's own goes no further
		{Name: api.HeaderDeadline},                        // likewise
	}
	v.request = upstream.Request{
		Method:  v.r.Method,
		Target:  v.target.path + v.target.query,
		Header:  in,
		Set:     v.fields[:],
		Body:    b.bytes,
		Upgrade: upstream.UpgradeOf(v.r),
		Timeout: v.function.Spec.Answer,
	}
	if b.stream != nil {
		v.request.Stream, v.request.Length, v.request.Interrupt = b.stream, b.length, b.stream.interrupt
	}
}

// forwardedFor adds the client to those that a request has come through.
func forwardedFor(before []string, remote string) string {
	client, _, err := net.SplitHostPort(remote)
	if err != nil {
		client = remote
	}
	for i := len(before) - 1; i >= 0; i-- {
		client = before[i] + ", " + client
	}
	return client
}

// newCallID makes a random UUID. It only has to differ from others.
func newCallID() string {
	var id uuid.UUID
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id.String()
}

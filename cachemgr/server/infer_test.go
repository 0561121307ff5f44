package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

const inferPath = "/v2/models/twice/infer"

const four = `{"id":"7","inputs":[{"name":"x","shape":[4],"datatype":"FP32","data":[1,2,3,4]}]}`

func TestInferInJSON(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{})
	resp, body := send(t, "POST", h.URL+inferPath, four)
	want := `{"model_name":"twice","model_version":"1","id":"7","outputs":[{"name":"y","datatype":"FP32","shape":[4],"data":[2,4,6,8]}]}`
	if resp.StatusCode != 200 || body != want {
		t.Fatalf("answer is %d %s", resp.StatusCode, body)
	}
	for name, want := range map[string]string{
		api.HeaderCache: "hit", api.HeaderDevice: "cpu", api.HeaderEngine: "fake", api.HeaderEpoch: s.Epoch(),
		api.HeaderTiming: "queue;dur=0.002, swap;dur=0.000, compute;dur=0.030",
		"Content-Type":   "application/json", "Content-Length": strconv.Itoa(len(body)), oip.HeaderLength: "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestInferBinaryWithTheClient(t *testing.T) {
	m := newFakeManager()
	_, h := newServer(t, m, Limits{})
	c, err := api.NewClient(api.ClientConfig{Address: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	into := make([]byte, 16)
	for _, version := range []string{"", "1"} {
		resp, info, err := c.Infer(context.Background(), api.Call{Model: "twice", Version: version}, &oip.Request{
			Inputs:  []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{4}, Data: floatBytes(1, 2, 3, 4)}},
			Outputs: []oip.Output{{Name: "y", Into: into}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if y := resp.Output("y"); y == nil || !bytes.Equal(y.Data, floatBytes(2, 4, 6, 8)) || &y.Data[0] != &into[0] {
			t.Errorf("output is %v", y)
		}
		if info.Cache != api.CacheHit || info.Compute != 30*time.Microsecond {
			t.Errorf("info is %+v", info)
		}
		resp.Release()
	}
	if m.specs != 1 {
		t.Errorf("the manager was asked %d times what the model takes", m.specs)
	}
}

func TestInferOfDynamicOutput(t *testing.T) {
	m := newFakeManager()
	m.spec.Inputs = []tensor.Spec{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}}
	m.spec.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1, 2}}}
	m.spec.MaxBatch = 2
	s, h := newServer(t, m, Limits{Output: 16})
	resp, body := send(t, "POST", h.URL+inferPath, `{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}`)
	if resp.StatusCode != 200 || !strings.Contains(body, `"shape":[2,2],"data":[2,4,6,8]`) {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
	if n := s.catalog.entriesOf(api.FunctionRef{})[0].stats.rows.Load(); n != 2 {
		t.Errorf("a batch of 2 counts as %d inferences", n)
	}
	m.spec.MaxBatch = 8
	s.catalog.entriesOf(api.FunctionRef{})[0].file.spec.Store(nil)
	resp, body = send(t, "POST", h.URL+inferPath, `{"inputs":[{"name":"x","shape":[3,2],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`)
	if resp.StatusCode != 500 || !strings.Contains(body, "outputs too large: together they may have 16 bytes") {
		t.Errorf("too much output: %d %s", resp.StatusCode, body)
	}
}

func TestModelOfWhichNothingIsKnown(t *testing.T) {
	m := newFakeManager()
	m.spec = engine.Spec{}
	_, h := newServer(t, m, Limits{})
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 500 || !strings.Contains(body, "cannot be known") {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
	m.mu.Lock()
	m.spec = doubling
	m.mu.Unlock()
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 200 {
		t.Errorf("once it is known: %d %s", resp.StatusCode, body)
	}
}

func TestInferRefusesBadInput(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{Body: 1000})
	input := func(name, datatype, shape, data string) string {
		return fmt.Sprintf(`{"inputs":[{"name":%q,"shape":%s,"datatype":%q,"data":%s}]}`, name, shape, datatype, data)
	}
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		status     int
		says       string
	}{
		"no JSON":          {body: "hello", status: 400, says: "malformed"},
		"empty":            {body: "", status: 400, says: "malformed"},
		"no inputs":        {body: `{"inputs":[]}`, status: 400, says: `input "x" is missing: the model takes x FP32 [4]`},
		"unknown input":    {body: input("z", "FP32", "[4]", "[1,2,3,4]"), status: 400, says: `unknown input "z": the model takes x FP32 [4]`},
		"datatype":         {body: input("x", "INT32", "[4]", "[1,2,3,4]"), status: 400, says: `input "x" is INT32: the model takes FP32`},
		"unknown datatype": {body: input("x", "FP31", "[4]", "[1,2,3,4]"), status: 400, says: "none of BOOL"},
		"shape":            {body: input("x", "FP32", "[2,2]", "[1,2,3,4]"), status: 400, says: `input "x" has shape [2,2]: the model takes [4]`},
		"length":           {body: input("x", "FP32", "[4]", "[1,2,3]"), status: 400, says: `"x"`},
		"strings":          {body: input("x", "BYTES", "[4]", `["a","b","c","d"]`), status: 400, says: "BYTES"},
		"unknown output":   {body: strings.Replace(four, `"id":"7"`, `"outputs":[{"name":"q"}]`, 1), status: 400, says: `unknown output "q": the model gives y FP32 [4]`},
		"too large":        {body: input("x", "FP32", "[4]", "["+strings.Repeat("1,", 600)+"1]"), status: 413, says: "at most 1000"},
		"unknown model":    {path: "/v2/models/thrice/infer", body: four, status: 404, says: `unknown model "thrice"`},
		"unknown version":  {path: "/v2/models/twice/versions/2/infer", body: four, status: 404, says: `version "2"`},
		"header length":    {body: four, headers: []string{oip.HeaderLength, "-5"}, status: 400, says: oip.HeaderLength},
		"header too long":  {body: four, headers: []string{oip.HeaderLength, "999"}, status: 400, says: "999"},
		"compressed":       {body: four, headers: []string{"Content-Encoding", "gzip"}, status: 400, says: "gzip"},
		"deadline":         {body: four, headers: []string{api.HeaderDeadline, "soon"}, status: 400, says: "soon"},
		"deadline passed":  {body: four, headers: []string{api.HeaderDeadline, "-1ms"}, status: 504, says: "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			path := inferPath
			if c.path != "" {
				path = c.path
			}
			resp, body := send(t, "POST", h.URL+path, c.body, c.headers...)
			if resp.StatusCode != c.status || !strings.Contains(body, strings.ReplaceAll(c.says, `"`, `\"`)) || !strings.HasPrefix(body, `{"error":"`) {
				t.Errorf("answer is %d %s, want %d with %q", resp.StatusCode, body, c.status, c.says)
			}
		})
	}
	// None of that changed anything for the next request.
	if resp, body := send(t, "POST", h.URL+inferPath, four); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}

func TestManagerErrorsBecomeStatuses(t *testing.T) {
	wrap := func(outer, inner error) error { return fmt.Errorf("%w: %w", outer, inner) }
	for _, c := range []struct {
		err    error
		status int
		retry  bool
		reason int
	}{
		{engine.ErrBadInput, 400, false, reasonOther},
		{cachemgr.ErrUnknownModel, 404, false, reasonOther},
		{cachemgr.ErrOverloaded, 503, true, reasonRejected},
		{cachemgr.ErrClosed, 503, true, reasonRejected},
		{engine.ErrNoMemory, 503, true, reasonRejected},
		{wrap(cachemgr.ErrFailed, errors.New("x")), 503, true, reasonBackend},
		{wrap(cachemgr.ErrFailed, engine.ErrBadModel), 500, false, reasonBackend},
		{engine.ErrBadModel, 500, false, reasonBackend},
		{cachemgr.ErrTooLarge, 500, false, reasonBackend},
		{engine.ErrDeviceLost, 503, true, reasonRejected},
		{engine.ErrUnavailable, 503, true, reasonRejected},
		{context.DeadlineExceeded, 504, false, reasonCanceled},
		{errors.New("anything else"), 500, false, reasonBackend},
	} {
		m := newFakeManager()
		m.infer = func(context.Context, cachemgr.Request) (cachemgr.Result, error) { return cachemgr.Result{}, c.err }
		s, h := newServer(t, m, Limits{})
		resp, body := send(t, "POST", h.URL+inferPath, four)
		if resp.StatusCode != c.status || (resp.Header.Get("Retry-After") != "") != c.retry || !strings.Contains(body, c.err.Error()) {
			t.Errorf("%v: %d, Retry-After %q, %s", c.err, resp.StatusCode, resp.Header.Get("Retry-After"), body)
		}
		stats := s.catalog.entriesOf(api.FunctionRef{})[0].stats
		if stats.failure[c.reason].Load() != 1 || stats.pending.Load() != 0 {
			t.Errorf("%v is not counted as %s", c.err, reasonNames[c.reason])
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Now()
	for want, err := range map[int]error{
		1:  cachemgr.ErrOverloaded,
		30: fmt.Errorf("model: %w", &cachemgr.FailedError{Reason: errors.New("x"), RetryAt: now.Add(29*time.Second + 1)}),
	} {
		if got := retryAfter(err, now); got != want {
			t.Errorf("%v: %d s", err, got)
		}
	}
	if got := retryAfter(&cachemgr.FailedError{RetryAt: now.Add(-time.Hour)}, now); got != 1 {
		t.Errorf("a time that has passed: %d s", got)
	}
}

// untilDone is an infer that tells when it runs and ends with its context.
func untilDone(started chan<- struct{}) func(context.Context, cachemgr.Request) (cachemgr.Result, error) {
	return func(ctx context.Context, _ cachemgr.Request) (cachemgr.Result, error) {
		close(started)
		<-ctx.Done()
		return cachemgr.Result{}, ctx.Err()
	}
}

func TestRunEndsAtItsDeadline(t *testing.T) {
	m := newFakeManager()
	m.infer = untilDone(make(chan struct{}))
	_, h := newServer(t, m, Limits{Run: time.Hour})
	resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderDeadline, "10ms")
	if resp.StatusCode != 504 || !strings.Contains(body, "no answer within 10ms") {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
	m.infer = untilDone(make(chan struct{}))
	_, h = newServer(t, m, Limits{Run: 10 * time.Millisecond})
	if resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderDeadline, "1h"); resp.StatusCode != 504 {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
}

func TestRunEndsWhenTheClientLeaves(t *testing.T) {
	m := newFakeManager()
	started, ended := make(chan struct{}), make(chan error, 1)
	run := untilDone(started)
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		_, err := run(ctx, r)
		ended <- err
		return cachemgr.Result{}, err
	}
	_, h := newServer(t, m, Limits{})
	ctx, leave := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "POST", h.URL+inferPath, strings.NewReader(four))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-started
		leave()
	}()
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Error("the client got an answer")
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the run ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the run went on")
	}
}

// raw sends bytes on a connection of its own and returns what comes back.
func raw(t *testing.T, address, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestBodyThatNeverComes(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{BodyTimeout: 20 * time.Millisecond})
	for path, status := range map[string]int{
		inferPath:                   408,
		"/v2/repository/index":      408,
		"/v2/models/unknown/infer":  404, // answered at once, but what is left of the body is not waited for
		"/v2/models/twice/metadata": 404,
	} {
		resp := raw(t, h.URL, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{\"inputs\"")
		if resp.StatusCode != status {
			t.Errorf("%s: %d %s", path, resp.StatusCode, readAll(t, resp.Body))
		}
	}
}

func TestEarlyAnswersReachClientsThatStillSend(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{Body: 2 << 20})
	for path, c := range map[string]struct{ size, status int }{
		"/v2/models/none/infer": {1 << 20, 404},
		inferPath:               {8 << 20, 413},
	} {
		for range 20 {
			resp, body := send(t, "POST", h.URL+path, strings.Repeat("x", c.size))
			if resp.StatusCode != c.status {
				t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
			}
		}
	}
}

func TestTruncatedBody(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{\"inputs\"", inferPath)
	conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, resp.Body); resp.StatusCode != 400 || !bytes.Contains(body, []byte("ends after 9 of 90 bytes")) {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
}

func TestHintAndArrivalReachTheManager(t *testing.T) {
	m := newFakeManager()
	before := time.Now()
	m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
		if r.Device != "gpu-1" || r.Arrived.Before(before) || r.Digest != digestOf(content("twice", "1")) {
			t.Errorf("request is %+v", r)
		}
		return double(ctx, r)
	}
	_, h := newServer(t, m, Limits{})
	if resp, body := send(t, "POST", h.URL+inferPath, four, api.HeaderDevice, "gpu-1"); resp.StatusCode != 200 {
		t.Errorf("answer is %d %s", resp.StatusCode, body)
	}
}

package server

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// A client that sends and never reads fills the socket; what its requests hold
// comes back all the same, be their answers large or small.
func TestAnswersThatNobodyTakes(t *testing.T) {
	for _, floats := range []int64{4, 4000, 40000} {
		t.Run(fmt.Sprint(floats), func(t *testing.T) {
			m := newFakeManager()
			m.spec.Inputs = []tensor.Spec{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1}}}
			m.spec.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1}}}
			s, err := New(Config{
				Manager: m, Store: openStore(t, t.TempDir()), Auth: Everybody{}, Log: discard(),
				Limits: Limits{BodyTimeout: 50 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			m.spec.Inputs[0].Shape[0] = floats
			addModel(t, s, api.FunctionRef{}, "twice", "1")
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: s}
			served := make(chan struct{})
			go func() {
				defer close(served)
				srv.Serve(l)
			}()
			defer func() {
				srv.Close()
				<-served
			}()
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			body := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d],"datatype":"FP32","data":[%s1]}]}`, floats, strings.Repeat("1,", int(floats)-1))
			request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", inferPath, len(body), body)
			conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			for err == nil { // until the server has had enough
				_, err = conn.Write([]byte(request))
			}
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Errorf("after 10 s the server still waits for its answers to be taken; requests hold %d bytes", s.memory.taken())
			}
			waitFor(t, func() bool { return s.memory.taken() == 0 })
		})
	}
}

// The time for one answer does not run out for the next request's.
func TestContinueAfterALongPause(t *testing.T) {
	_, h := newServer(t, newFakeManager(), Limits{BodyTimeout: 100 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(conn)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", inferPath, len(four), four)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 || len(readAll(t, resp.Body)) == 0 {
		t.Fatalf("%v, %v", resp, err)
	}
	<-time.After(150 * time.Millisecond)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", inferPath, len(four))
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	in.ReadString('\n')
	fmt.Fprint(conn, four)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v, %v", resp, err)
	}
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// echoCommand makes this program a server: the floors are measured against a
// process of its own, as what they are compared with is.
const echoCommand = "serve-echo"

// serveEcho serves on a Unix socket and on a port of loopback, whose address it
// prints, until its standard input ends.
func serveEcho(socket string) error {
	local, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &echo{}}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(local) }()
	go func() { failed <- server.Serve(tcp) }()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		failed <- nil
	}()
	fmt.Println(tcp.Addr())
	return <-failed
}

// startEcho runs serveEcho in a process of its own; it returns the TCP address.
func startEcho(ctx context.Context, socket string) (addr string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, echoCommand, socket)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		in.Close()
		cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("echo server: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

// echo answers a request with its own body: the floor of any HTTP server that
// reads a body whole before it answers. Buffers are used again, as any server
// would that is made for such bodies.
type echo struct{ buffers sync.Pool }

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	buffer, _ := e.buffers.Get().(*[]byte)
	if buffer == nil || int64(len(*buffer)) < r.ContentLength {
		made := make([]byte, r.ContentLength)
		buffer = &made
	}
	defer e.buffers.Put(buffer)
	body := (*buffer)[:r.ContentLength]
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

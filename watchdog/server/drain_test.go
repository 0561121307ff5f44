package server

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestDrainWaitsForWorkOnly(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "done")
	})
	// A connection that never asks for anything is not work.
	silent, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	answer := make(chan string)
	go func() {
		resp, err := f.client.Get(f.url)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	f.stop()
	poll(t, func() (string, bool) {
		_, err := os.Stat(f.Config.LockFile())
		return "lock file", os.IsNotExist(err)
	})
	if f.alive() == nil {
		t.Error("healthy while it ends")
	}
	select {
	case <-f.stopped:
		t.Error("ended with work to do")
	default:
	}
	start := time.Now()
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	<-f.stopped
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v to end with nothing to do", took)
	}
}

func TestDrainIsBounded(t *testing.T) {
	for name, environ := range map[string]string{"by write_timeout": "write_timeout=50ms", "by a second signal": "write_timeout=1h"} {
		t.Run(name, func(t *testing.T) {
			entered, release := make(chan struct{}), make(chan struct{})
			f := start(t, func(w http.ResponseWriter, r *http.Request) {
				close(entered)
				<-release
			}, environ, "exec_timeout=1h")
			failed := make(chan error)
			go func() {
				resp, err := f.client.Get(f.url)
				if err == nil {
					resp.Body.Close()
				}
				failed <- err
			}()
			<-entered
			f.stop()
			if strings.HasPrefix(name, "by a second") {
				close(f.force)
			}
			<-f.stopped
			<-failed
			close(release)
		})
	}
}

func TestLeaveDelayServesOn(t *testing.T) {
	f := start(t, hello, "healthcheck_interval=1h")
	f.stop()
	f.await(t, "/_/health", http.StatusServiceUnavailable)
	if resp, _ := f.get(t, "/"); resp.StatusCode != 200 {
		t.Errorf("status is %d", resp.StatusCode)
	}
	close(f.force)
}

func TestRunReportsWhatIsWrong(t *testing.T) {
	f := start(t, hello)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := f.Run(t.Context(), ln, nil); err == nil || !strings.Contains(err.Error(), "serve") {
		t.Errorf("error is %v", err)
	}
	f.Config.TempDir = "/dev/null/nowhere"
	ln, _ = net.Listen("tcp", "127.0.0.1:0")
	if err := f.Run(t.Context(), ln, nil); err == nil || !strings.Contains(err.Error(), "suppress_lock") {
		t.Errorf("error is %v", err)
	}
	f.Config.TempDir = t.TempDir()
}

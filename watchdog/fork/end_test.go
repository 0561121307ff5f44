package fork

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestEndOfTheRequestKillsTheGroup(t *testing.T) {
	bothModes(t, func(t *testing.T, whole int64) {
		file := t.TempDir() + "/pids"
		f := start(t, whole, "sleep 600 & echo $! > "+file+"; echo $$ >> "+file+"; echo half; cat > /dev/null; wait")
		pids := func() []string {
			b, _ := os.ReadFile(file)
			return strings.Fields(string(b))
		}
		began := time.Now()
		a := f.post(t, nil, "Limit", "300ms")
		if time.Since(began) > 10*time.Second || whole > 0 && a.status != 504 || whole == 0 && a.broken == nil {
			t.Errorf("its time was over: %+v after %v", a, time.Since(began))
		}
		if p := pids(); len(p) != 2 || !gone(p[1]) {
			t.Errorf("of %v the process is left", p)
		}
		within(t, "the process that it started to be gone", func() bool { return dead(pids()[0]) })

		os.Remove(file)
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "POST", f.url, nil)
		left := make(chan struct{})
		go func() {
			defer close(left)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
		within(t, "the process to run", func() bool { return len(pids()) == 2 })
		leave()
		<-left
		within(t, "both to be gone when the client has left", func() bool { p := pids(); return dead(p[0]) && gone(p[1]) })
	})
}

func TestCloseKillsWhatRuns(t *testing.T) {
	bothModes(t, func(t *testing.T, whole int64) {
		file := t.TempDir() + "/pid"
		f := start(t, whole, "echo $$ > "+file+"; sleep 600")
		answered := make(chan reply)
		go func() { answered <- f.post(t, nil) }()
		var pid string
		within(t, "the process to run", func() bool {
			b, err := os.ReadFile(file)
			pid = string(b)
			return err == nil && strings.HasSuffix(pid, "\n")
		})
		f.Close()
		if !gone(pid) {
			t.Error("the process is left")
		}
		if a := <-answered; a.status != 503 {
			t.Errorf("%+v", a)
		}
		if a := f.post(t, nil); a.status != 503 {
			t.Errorf("afterwards: %+v", a)
		}
	})
}

// A body that breaks off must not be taken for a whole one.
func TestTruncatedBody(t *testing.T) {
	bothModes(t, func(t *testing.T, whole int64) {
		file := t.TempDir() + "/whole"
		f := start(t, whole, "cat > /dev/null; echo > "+file)
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
		conn.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(conn)
		conn.Close()
		if len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
			t.Errorf("got %q", b)
		}
		f.Close() // it has ended
		if _, err := os.Stat(file); err == nil {
			t.Error("the process took a part of the body for the whole")
		}
	})
}

// A client that sends nothing more keeps nobody who has answered.
func TestAnswerBeforeTheBody(t *testing.T) {
	f := start(t, 0, "echo enough")
	body, write := io.Pipe()
	defer write.Close()
	go write.Write([]byte("begin"))
	if a := f.post(t, body); a.status != 200 || a.body != "enough\n" || a.broken != nil {
		t.Errorf("%+v", a)
	}
}

// A process that has left the group and holds the output is waited for briefly.
func TestOneThatLeftTheGroup(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is not installed")
	}
	bothModes(t, func(t *testing.T, whole int64) {
		f := start(t, whole, "setsid sleep 5 & sleep 0.1; echo done")
		began := time.Now()
		if a := f.post(t, nil); a.status != 200 || a.body != "done\n" || a.broken != nil || time.Since(began) > 4*time.Second {
			t.Errorf("%+v after %v", a, time.Since(began))
		}
	})
}

func TestOrphansAreReaped(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanage+"=1", "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

package fork

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, script, body   string
		streamed, serialized int // statuses; 0: the connection breaks off
		want                 string
	}{
		{"echo", "cat", "hello", 200, 200, "hello"},
		{"nothing", "true", "unread", 200, 200, ""},
		{"input not read", "echo early", strings.Repeat("x", 1<<19), 200, 200, "early\n"},
		{"failed", "echo why >&2; exit 3", "", 500, 500, "code 3"},
		{"failed late", "echo half; exit 3", "", 0, 500, "code 3"},
		{"killed", "kill -9 $$", "", 502, 502, "signal 9"},
		{"killed late", "echo half; sleep 0.01; kill -9 $$", "", 0, 502, "signal 9"},
		{"exit like a signal", "exit 137", "", 500, 500, "code 137"},
		{"one left behind", "sleep 600 & echo done", "", 200, 200, "done\n"},
		{"no such program", "exec /nonexistent/program", "", 500, 500, "code 127"},
	} {
		for whole, status := range map[int64]int{0: tc.streamed, 1 << 20: tc.serialized} {
			f := start(t, whole, tc.script)
			a := f.post(t, strings.NewReader(tc.body))
			if status == 0 {
				if a.broken == nil {
					t.Errorf("%s: half an answer looks whole: %d %q", tc.name, a.status, a.body)
				}
				continue
			}
			if a.broken != nil || a.status != status || !strings.Contains(a.body, tc.want) {
				t.Errorf("%s, whole %d: %d %q, %v", tc.name, whole, a.status, a.body, a.broken)
			}
			if status == 200 && a.header.Get("Content-Type") != "text/plain" || status >= 500 && a.header.Get("X-Openfaas-Internal") != "of-watchdog" {
				t.Errorf("%s, whole %d: headers %v", tc.name, whole, a.header)
			}
		}
	}
}

func TestStandardErrorIsLogged(t *testing.T) {
	bothModes(t, func(t *testing.T, whole int64) {
		f := start(t, whole, "echo a line >&2; printf 'and a part' >&2; echo out")
		if a := f.post(t, nil); a.body != "out\n" {
			t.Errorf("%+v", a)
		}
		if got := f.log.String(); got != "stderr: a line\nstderr: and a part\n" {
			t.Errorf("logged %q", got)
		}
	})
}

func TestEnvironment(t *testing.T) {
	bothModes(t, func(t *testing.T, whole int64) {
		f := start(t, whole, "env", "mine=1", "Http_Proxy=of the function")
		a := f.post(t, strings.NewReader("body"),
			"X-Call-Id", "id", "X-Two", "1", "X-Two", "2", "Proxy", "http://evil", "Method", "evil", "Query", "evil", "X_Call_Id", "evil", "Content-Type", "a/b")
		got := map[string]string{}
		for line := range strings.Lines(a.body) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			got[name] = value
		}
		for name, want := range map[string]string{
			"Http_Method": "POST", "Http_Path": "/some path", "Http_Query": "a=b&c", "Http_Host": strings.TrimPrefix(f.url, "http://"),
			"Http_Content_Length": "4", "Http_X_Call_Id": "id", "Http_X_Two": "1, 2", "Http_Content_Type": "a/b",
			"Http_Proxy": "of the function", "mine": "1", "Http_Transfer_Encoding": "",
		} {
			if got[name] != want {
				t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
		a = f.post(t, struct{ io.Reader }{strings.NewReader("body")})
		if !strings.Contains(a.body, "Http_Transfer_Encoding=chunked\n") || strings.Contains(a.body, "Http_Content_Length=") {
			t.Errorf("of a body without a length: %s", a.body)
		}
	})
}

func TestWhatNoProcessCanBeTold(t *testing.T) {
	bothModes(t, func(t *testing.T, whole int64) {
		f := start(t, whole, "cat")
		if a := f.post(t, nil, "X-Large", strings.Repeat("x", 200<<10)); a.status != http.StatusRequestHeaderFieldsTooLarge || !strings.Contains(a.body, "environment") {
			t.Errorf("a header that is too large: %+v", a)
		}
		resp, err := http.Get(f.url + "/a%00b")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("a path with a zero byte: %d", resp.StatusCode)
		}
	})
}

func TestStreamsBothWays(t *testing.T) {
	f := start(t, 0, `while read line; do echo "got $line"; done`)
	body, write := io.Pipe()
	req, err := http.NewRequest("POST", f.url, body)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan *http.Response)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
		}
		answered <- resp
	}()
	fmt.Fprintln(write, "one")
	resp := <-answered // before the request's end
	if resp == nil {
		return
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	buf := make([]byte, 8)
	for _, line := range []string{"one", "two"} {
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "got "+line+"\n" {
			t.Fatalf("got %q, %v", buf, err)
		}
		if line == "one" {
			fmt.Fprintln(write, "two")
		}
	}
	write.Close()
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestLargeBodies(t *testing.T) {
	const size = 64 << 20
	f := start(t, 0, "cat")
	req, _ := http.NewRequest("POST", f.url, io.LimitReader(zeros{}, size))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	n, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if n != size || err != nil {
		t.Errorf("%d bytes came back: %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestSerializingIsBounded(t *testing.T) {
	f := start(t, 1000, "cat; yes")
	if a := f.post(t, strings.NewReader("x")); a.status != 500 || !strings.Contains(a.body, "1000 bytes that max_buffered allows") {
		t.Errorf("output without an end: %+v", a)
	}
	for _, body := range []io.Reader{strings.NewReader(strings.Repeat("x", 1001)), struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 1001))}} {
		if a := f.post(t, body); a.status != 413 || !strings.Contains(a.body, "1000 bytes that max_buffered allows") {
			t.Errorf("a body that is too large: %+v", a)
		}
	}
	whole := start(t, 1000, "cat")
	if a := whole.post(t, strings.NewReader(strings.Repeat("x", 1000))); a.status != 200 || len(a.body) != 1000 {
		t.Errorf("bodies of just the size: %d, %d bytes", a.status, len(a.body))
	}
}

// A reader that is slower than the process gets all of its output.
func TestOutputIsReadLate(t *testing.T) {
	stdout, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	io.WriteString(out, "the rest")
	out.Close()
	stdout.SetReadDeadline(time.Unix(1, 0)) // as when the process has long ended
	if b, err := io.ReadAll(&run{stdout: stdout}); string(b) != "the rest" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestCommandMustBeThere(t *testing.T) {
	if _, err := New(Options{Command: []string{"/nonexistent/program"}}); err == nil || !strings.Contains(err.Error(), "fprocess") {
		t.Errorf("got %v", err)
	}
}

func TestNoProcessCanBeMade(t *testing.T) {
	h := &Handler{ctx: t.Context()}
	for err, want := range map[error]int{syscall.EAGAIN: 503, syscall.EMFILE: 503, syscall.ENOMEM: 503, syscall.E2BIG: 431, syscall.EACCES: 500} {
		w := httptest.NewRecorder()
		h.fail(w, nil, fmt.Errorf("start program: %w", err))
		if w.Code != want || (w.Header().Get("Retry-After") != "") != (want == 503) {
			t.Errorf("%v: %d %v", err, w.Code, w.Header())
		}
	}
}

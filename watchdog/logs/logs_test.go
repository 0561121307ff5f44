package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/faas-gpu/faas-gpu/internal/logline"
	"go.uber.org/goleak"
)

// captured is the environment variable that makes this test binary print and
// exit instead of testing; its value says how.
const captured = "LOGS_TEST_CAPTURED"

func TestMain(m *testing.M) {
	if how := os.Getenv(captured); how != "" {
		printAndExit(how, os.Getenv("LOGS_TEST_FILE"))
	}
	goleak.VerifyTestMain(m)
}

func printAndExit(how, path string) {
	_, finish, err := Capture(path, 64)
	if err != nil {
		panic(err)
	}
	fmt.Println("to stdout")
	fmt.Fprint(os.Stderr, "to stderr, no newline")
	switch how {
	case "finish":
		slog.Info("structured", "n", 1)
		finish()
		os.Exit(0)
	case "fatal":
		log.Fatal("fatal words")
	case "panic":
		panic("boom")
	}
}

func runCaptured(t *testing.T, how string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), captured+"="+how, "LOGS_TEST_FILE="+path, "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); len(out) > 0 {
		t.Errorf("printed beside the log file: %q (%v)", out, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// texts are a log's lines without stamps; those that had none are marked.
func texts(content string) []string {
	var out []string
	for line := range strings.Lines(content) {
		_, text, ok := logline.Parse(strings.TrimSuffix(line, "\n"))
		if !ok {
			text = "bare: " + text
		}
		out = append(out, text)
	}
	return out
}

func contains(t *testing.T, lines []string, want string) {
	t.Helper()
	for _, l := range lines {
		if l == want {
			return
		}
	}
	t.Errorf("no line %q in %q", want, lines)
}

func TestCaptureStampsEverything(t *testing.T) {
	lines := texts(runCaptured(t, "finish"))
	contains(t, lines, "to stdout")
	contains(t, lines, "to stderr, no newline")
	contains(t, lines, "INFO structured n=1")
	if len(lines) != 3 {
		t.Errorf("lines are %q", lines)
	}
}

func TestFatalLineIsKept(t *testing.T) {
	contains(t, texts(runCaptured(t, "fatal")), "fatal words")
}

func TestCrashTraceIsKept(t *testing.T) {
	lines := texts(runCaptured(t, "panic"))
	contains(t, lines, "bare: panic: boom")
}

func TestFileStampsEachLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := OpenFile(path, MaxSize, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := f.Write([]byte("one\ntwo")); n != 7 || err != nil {
		t.Errorf("Write gave %d, %v", n, err)
	}
	f.Line([]byte("three"))
	b, _ := os.ReadFile(path)
	if got := texts(string(b)); strings.Join(got, "|") != "one|two|three" {
		t.Errorf("lines are %q", got)
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	opened := 0
	f, err := OpenFile(path, 400, func(*os.File) error { opened++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 30 {
		f.Line(fmt.Appendf(nil, "line %02d", i))
	}
	old, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	now, _ := os.ReadFile(path)
	all := texts(string(old) + string(now))
	if last := all[len(all)-1]; last != "line 29" {
		t.Errorf("last line is %q", last)
	}
	for i := 1; i < len(all); i++ {
		var a, b int
		fmt.Sscanf(all[i-1]+" "+all[i], "line %d line %d", &a, &b)
		if b != a+1 {
			t.Errorf("%q follows %q", all[i], all[i-1])
		}
	}
	if opened < 2 || len(old) < 400 || len(now) > 450 {
		t.Errorf("opened %d times, %d and %d bytes", opened, len(old), len(now))
	}
}

func TestRotationThatFailsLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	fail := false
	f, err := OpenFile(path, 100, func(*os.File) error {
		if fail {
			return errors.New("no more descriptors")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fail = true
	for i := range 10 {
		f.Line(fmt.Appendf(nil, "line %d", i))
	}
	old, _ := os.ReadFile(path + ".1")
	lines := texts(string(old))
	contains(t, lines, "line 0")
	contains(t, lines, "line 9")
}

func TestOpenFileNamesTheVariable(t *testing.T) {
	_, err := OpenFile(filepath.Join(t.TempDir(), "no", "log"), MaxSize, nil)
	if err == nil || !strings.Contains(err.Error(), "log_file") {
		t.Errorf("error is %v", err)
	}
}

// lines is a sink that remembers.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Line(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(text))
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"a\nb\n", "p: a|p: b"},
		{"a\r\n\nb", "p: a|p: |p: b"},
		{strings.Repeat("x", 20) + "\ny\n", "p: xxxxxxxxxxxxxxxx|p: xxxx|p: y"},
	} {
		var l lines
		if err := Split(strings.NewReader(tc.in), 16, "p: ", &l); err != nil {
			t.Error(err)
		}
		if got := strings.Join(l.all, "|"); got != tc.want {
			t.Errorf("%q gave %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestSplitReportsErrors(t *testing.T) {
	want := errors.New("broken")
	r, w := io.Pipe()
	go w.CloseWithError(want)
	if err := Split(r, 16, "", &lines{}); !errors.Is(err, want) {
		t.Errorf("error is %v", err)
	}
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	NewPlain(&b, false).Line([]byte("as it is"))
	NewPlain(&b, true).Line([]byte("dated"))
	out := strings.Split(b.String(), "\n")
	if out[0] != "as it is" || len(out[1]) != len("2006/01/02 15:04:05 dated") || !strings.HasSuffix(out[1], " dated") {
		t.Errorf("output is %q", out)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n\x00c"), 16)
	f.Add([]byte(strings.Repeat("x", 100)), 17)
	f.Fuzz(func(t *testing.T, in []byte, max int) {
		max = 16 + max&0xff
		var l lines
		if err := Split(bytes.NewReader(in), max, "", &l); err != nil {
			t.Fatal(err)
		}
		strip := strings.NewReplacer("\n", "", "\r", "")
		if got := strip.Replace(strings.Join(l.all, "")); got != strip.Replace(string(in)) {
			t.Errorf("%q became %q", in, l.all)
		}
		for _, line := range l.all {
			if strings.Contains(line, "\n") || len(line) > max {
				t.Errorf("line %q, at most %d bytes were asked for", line, max)
			}
		}
	})
}

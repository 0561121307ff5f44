package run

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/internal/fakecache"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

// What this test binary is, if not a test: asWatchdog makes it fwatchdog, and the
// argument, which that gives to what it starts, one of the others.
const (
	asWatchdog = "RUN_TEST_WATCHDOG"
	asServer   = "be-the-functions-server"
	asCache    = "be-the-cache-manager"
	asAsker    = "be-a-process-that-asks-its-model"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == asServer:
		os.Exit(serveFunction())
	case len(os.Args) > 1 && os.Args[1] == asAsker:
		os.Exit(askModel())
	case len(os.Args) > 1 && os.Args[1] == asCache:
		os.Exit(serveCache())
	case os.Getenv(asWatchdog) != "":
		os.Exit(Main(config.Forked, nil))
	}
	goleak.VerifyTestMain(m)
}

// serveFunction is the function's server.
func serveFunction() int {
	target, err := url.Parse(os.Getenv("upstream_url"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("to stdout")
	fmt.Fprintln(os.Stderr, "to stderr")
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	code := make(chan int)
	go func() {
		<-terms
		fmt.Println("asked to end")
		code <- 0
	}()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exit":
			n, _ := strconv.Atoi(r.URL.Query().Get("code"))
			code <- n
			select {}
		case "/slow":
			rc := http.NewResponseController(w)
			rc.EnableFullDuplex()
			io.WriteString(w, "begin ")
			rc.Flush()
			io.Copy(io.Discard, r.Body) // ends when the client says so
			fmt.Println("slow is done")
			io.WriteString(w, "end")
		case "/hang":
			<-r.Context().Done()
		case "/body":
			io.Copy(w, r.Body)
		case "/socket":
			echoMessages(w, r)
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		default:
			fmt.Fprintf(w, "%s %s pid %d", r.Method, r.RequestURI, os.Getpid())
		}
	})
	ln, err := net.Listen("tcp", target.Host)
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, nil)
	return <-code
}

// echoMessages is a WebSocket that says back what it hears.
func echoMessages(w http.ResponseWriter, r *http.Request) {
	c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// serveCache is the cache manager that the watchdog starts as a child.
func serveCache() int {
	if os.Getenv("auth") != "none" || os.Getenv("listen") != "off" || os.Getenv("metrics_listen") != "off" {
		return 3
	}
	dir := os.Getenv("socket_dir")
	os.Remove(filepath.Join(dir, "oip.sock"))
	if err := fakecache.New(filepath.Join(dir, "oip.sock")).Serve(true); err != nil {
		log.Print(err)
		return 4
	}
	fmt.Println("cache manager", os.Getpid())
	select {}
}

// askModel is a process for one request, which it passes on to the model digits.
func askModel() int {
	req, err := http.NewRequest("POST", "http://127.0.0.1:"+os.Getenv("port")+"/v2/models/digits/infer", os.Stdin)
	if err != nil {
		return 2
	}
	req.Header.Set("X-Call-Id", os.Getenv("Http_X_Call_Id"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 3
	}
	io.Copy(os.Stdout, resp.Body)
	return 0
}

// process is a watchdog that runs.
type process struct {
	cmd  *exec.Cmd
	url  string
	dir  string
	out  *output
	done chan struct{}
}

// output is what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// freePorts are two ports that are free and differ.
func freePorts(t *testing.T) (string, string) {
	t.Helper()
	var ports [2]string
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports[i] = strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	}
	return ports[0], ports[1]
}

func start(t *testing.T, environ ...string) *process {
	t.Helper()
	dir := t.TempDir()
	port, metricsPort := freePorts(t)
	p := &process{cmd: exec.Command(os.Args[0]), dir: dir, url: "http://127.0.0.1:" + port, out: &output{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.out, p.out
	// The race detector would have every process sleep a second at its end.
	p.cmd.Env = append([]string{asWatchdog + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir,
		"port=" + port, "bind=127.0.0.1", "metrics_port=" + metricsPort, "mode=http",
		"fprocess=" + os.Args[0] + " " + asServer, "upstream_url=http://127.0.0.1:0"}, environ...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		http.DefaultClient.CloseIdleConnections()
	})
	return p
}

func (p *process) get(path string, header ...string) (*http.Response, string, error) {
	req, err := http.NewRequest("GET", p.url+path, nil)
	if err != nil {
		return nil, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirects
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func (p *process) await(t *testing.T, path string, status int) string {
	t.Helper()
	var body string
	p.until(t, func() bool {
		resp, b, err := p.get(path)
		body = b
		return err == nil && resp.StatusCode == status
	}, path)
	return body
}

// until polls; what it waits for is said if it does not come.
func (p *process) until(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s\n%s", what, p.out)
		}
	}
}

func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end\n%s", p.out)
		return 0
	}
}

// cutOff asks the watchdog to end and, once it drains, asks again: that cuts off what
// runs, of which cut tells.
func (p *process) cutOff(t *testing.T, cut <-chan error) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.until(t, func() bool {
		_, err := os.Stat(filepath.Join(p.dir, ".lock"))
		return os.IsNotExist(err)
	}, "the lock file to go")
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 143 {
		t.Errorf("exit code is %d\n%s", code, p.out)
	}
	if err := <-cut; err == nil {
		t.Error("the request that was cut off got an answer")
	}
}

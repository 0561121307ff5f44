// Package lab runs the real programs of this checkout on loopback, each as a
// process of its own and in a folder of its own: for end-to-end tests and
// benchmarks that measure, stop and kill them.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// Programs are the built programs of a checkout.
type Programs struct {
	Source    string // the checkout
	Provider  string
	Cachemgrd string
	Watchdog  string
	Docker    string
	// Runtime is ONNX Runtime's library.
	Runtime string
}

// Build builds the programs of the checkout that holds the working directory
// into dir. ONNX Runtime's library is where the variable ONNXRUNTIME_LIB says, or
// where `make deps` puts it.
func Build(ctx context.Context, dir string) (*Programs, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	p := &Programs{
		Source:    filepath.Dir(strings.TrimSpace(string(out))),
		Provider:  filepath.Join(dir, "gpu-provider"),
		Cachemgrd: filepath.Join(dir, "cachemgrd"),
		Watchdog:  filepath.Join(dir, "fwatchdog"),
		Docker:    filepath.Join(dir, "docker"),
		Runtime:   os.Getenv("ONNXRUNTIME_LIB"),
	}
	if p.Runtime == "" {
		p.Runtime = filepath.Join(p.Source, ".build", "onnxruntime", "libonnxruntime.so")
	}
	if _, err := os.Stat(p.Runtime); err != nil {
		return nil, fmt.Errorf("ONNX Runtime is not there (`make deps` installs it): %w", err)
	}
	for target, pkg := range map[string]string{
		p.Provider: "provider/cmd/gpu-provider", p.Cachemgrd: "cachemgr/cmd/cachemgrd",
		p.Watchdog: "watchdog/cmd/fwatchdog", p.Docker: "stack/docker",
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", target, "./"+pkg)
		cmd.Dir = p.Source
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return p, nil
}

// Options of a lab.
type Options struct {
	// Dir is a folder for everything, made if it is not there. Its path must be short: it holds
	// Unix sockets.
	Dir string
	// Cachemgr and Provider are variables of the two programs, NAME=VALUE, beside
	// those that the lab needs itself.
	Cachemgr, Provider []string
}

// Lab is a provider with the process runtime and one node's cache manager.
type Lab struct {
	*Programs
	Dir      string
	URL      string // of the provider
	User     string
	Password string
	Socket   string // of the cache manager

	Provider *Process
	Cachemgr *Process

	client *http.Client
}

// Start starts the programs and waits until they serve.
func Start(ctx context.Context, programs *Programs, opt Options) (*Lab, error) {
	if err := os.MkdirAll(opt.Dir, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	l := &Lab{
		Programs: programs, Dir: opt.Dir, User: "admin",
		URL:    "http://127.0.0.1:" + strconv.Itoa(port),
		Socket: filepath.Join(opt.Dir, "run", api.SocketOIP),
		client: &http.Client{
			Timeout:   2 * time.Minute,
			Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		},
	}
	l.Provider = &Process{
		program: programs.Provider, logFile: filepath.Join(opt.Dir, "provider.log"),
		environ: append(os.Environ(), append([]string{
			"port=" + strconv.Itoa(port), "state_dir=" + opt.Dir,
			"cachemgr_socket=" + l.Socket,
		}, opt.Provider...)...),
		ready: func(ctx context.Context) error { return l.get(ctx, l.client, l.URL+"/healthz") },
	}
	node := dialUnix(l.Socket)
	l.Cachemgr = &Process{
		program: programs.Cachemgrd, logFile: filepath.Join(opt.Dir, "cachemgr.log"),
		environ: append(os.Environ(), append([]string{
			"listen=127.0.0.1:0", "metrics_listen=127.0.0.1:0",
			"socket_dir=" + filepath.Dir(l.Socket),
			"store_path=" + filepath.Join(opt.Dir, "store"),
			"token_public_key=" + filepath.Join(opt.Dir, "keys", "token.pub"),
			"onnxruntime_library=" + programs.Runtime,
			"threads=1",
		}, opt.Cachemgr...)...),
		ready: func(ctx context.Context) error { return l.get(ctx, node, "http://node/v2/health/live") },
	}
	// The provider first: it makes the keys.
	for _, p := range []*Process{l.Provider, l.Cachemgr} {
		if err := p.start(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	password, err := os.ReadFile(filepath.Join(opt.Dir, "basic-auth-password"))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.Password = strings.TrimSpace(string(password))
	return l, nil
}

// At is a lab of which only the provider is known, one that was started otherwise.
// It is not closed.
func At(url, user, password string) *Lab {
	return &Lab{URL: url, User: user, Password: password, client: &http.Client{Timeout: 2 * time.Minute}}
}

// Close removes all functions, waits until their processes have ended, and stops
// the programs.
func (l *Lab) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	if l.Password != "" {
		errs = append(errs, l.RemoveAll(ctx), l.awaitEnd(ctx))
	}
	for _, p := range []*Process{l.Provider, l.Cachemgr} {
		if p.cmd != nil && p.cmd.Process != nil {
			errs = append(errs, p.Stop())
		}
	}
	l.client.CloseIdleConnections()
	return errors.Join(errs...)
}

func (l *Lab) get(ctx context.Context, c *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return nil
}

func dialUnix(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
}

// freePort is a port of loopback that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Package config reads the watchdog's configuration from its environment. The
// names and defaults are those of OpenFaaS's of-watchdog where it has them.
package config

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/env"
)

// Kind says what answers the requests.
type Kind int

const (
	// InProcess is a Go handler compiled into the watchdog.
	InProcess Kind = iota
	// Forked is what program fwatchdog serves: Mode says what.
	Forked
)

// What answers the requests of a Forked function. All but ModeModel are
// of-watchdog's.
const (
	ModeStreaming   = "streaming"   // a process for each request, whose output is passed on as it comes
	ModeSerializing = "serializing" // a process for each request, whose exit code decides the status
	ModeHTTP        = "http"        // an HTTP server that the watchdog starts
	ModeStatic      = "static"      // a folder of files
	ModeModel       = "model"       // the function's only model
)

// How the models' cache manager is reached.
const (
	ModeAttach = "attach" // it is the node's
	ModeChild  = "child"  // it is started by the watchdog, for this function alone
)

// socketPathLimit is the kernel's, for the path of a Unix socket with the zero
// at its end.
const socketPathLimit = 108

// Config is everything that can be set.
type Config struct {
	Function, Namespace string

	Bind        string
	Port        int
	MetricsPort int

	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	ExecTimeout  time.Duration // 0: no limit but WriteTimeout
	LeaveDelay   time.Duration
	UpgradeIdle  time.Duration
	MaxInflight  int // 0: no limit
	ReadyPath    string
	SuppressLock bool
	TempDir      string
	SecretsDir   string

	PrefixLogs    bool
	LogCallID     bool
	LogBufferSize int // longest line of the function's output, bytes
	LogFile       string

	// Of a Forked function only.
	Mode        string
	Command     []string // none in ModeStatic and ModeModel
	Upstream    *url.URL // in ModeHTTP
	BufferBody  bool     // in ModeHTTP
	MaxBuffered int64    // of a body that is read whole, bytes
	ContentType string   // of what processes print
	StaticPath  string   // in ModeStatic

	ModelsPath     string
	Preload, Pin   Selection
	ModelControl   bool
	CacheSocket    string
	CacheMode      string
	CacheBinary    string
	CacheWait      time.Duration
	CacheChildData string
	SharedMemory   int64 // bytes
}

// LockFile exists while the watchdog takes requests; a container's health check
// looks for it.
func (c *Config) LockFile() string { return filepath.Join(c.TempDir, ".lock") }

// TokenFile holds what proves to the cache manager which function this is.
func (c *Config) TokenFile() string { return filepath.Join(c.SecretsDir, "faas-gpu-token") }

// Address is where the function is served, MetricsAddress where its metrics are.
func (c *Config) Address() string { return net.JoinHostPort(c.Bind, strconv.Itoa(c.Port)) }

// MetricsAddress is where the metrics are served.
func (c *Config) MetricsAddress() string {
	return net.JoinHostPort(c.Bind, strconv.Itoa(c.MetricsPort))
}

// Read reads an environment in the form of os.Environ. The error names every
// value that is wrong.
func Read(environ []string, kind Kind) (*Config, error) {
	s := env.New(environ)
	c := declare(s, kind)
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	return c, nil
}

// Usage prints every variable with its default and its meaning.
func Usage(w io.Writer, kind Kind) error {
	s := env.New(nil)
	declare(s, kind)
	return s.Usage(w)
}

func declare(s *env.Set, kind Kind) *Config {
	c := &Config{}
	declareServer(s, c)
	declareLogs(s, c)
	if kind == Forked {
		declareForked(s, c)
	}
	declareModels(s, c)
	return c
}

func declareServer(s *env.Set, c *Config) {
	c.Function = s.String("OPENFAAS_NAME", "", "name of the function")
	c.Namespace = s.String("OPENFAAS_NAMESPACE", "", "its namespace")
	c.Bind = s.String("bind", "", "address to listen on; empty: all interfaces")
	c.Port = port(s, "port", 8080, "port of the function")
	c.MetricsPort = port(s, "metrics_port", 8081, "port of /metrics")
	c.ReadTimeout = s.Duration("read_timeout", 30*time.Second, "longest time to read a request")
	c.WriteTimeout = s.Duration("write_timeout", 30*time.Second, "longest time from a request's head to the end of its response; also bounds the drain at SIGTERM")
	c.ExecTimeout = s.Duration("exec_timeout", 30*time.Second, "longest time that the function may take (504 then); 0: write_timeout decides. A request's X-Timeout shortens it")
	c.UpgradeIdle = s.Duration("upgrade_idle_timeout", 5*time.Minute, "longest silence on a connection that was upgraded, as a WebSocket is; the times above do not count there")
	c.LeaveDelay = s.Duration("healthcheck_interval", 0, "time to go on serving after SIGTERM, for routers that notice by probing only")
	c.MaxInflight = s.Int("max_inflight", 0, "most requests that the function answers at once (429 beyond; /v2 does not count); 0: no limit")
	c.ReadyPath = s.String("ready_path", "", "path of the function that /_/ready asks too")
	c.SuppressLock = s.Bool("suppress_lock", false, "write no lock file")
	c.TempDir = s.String("TMPDIR", "/tmp", "folder of the lock file and of other small files")
	c.SecretsDir = s.String("secret_mount_path", "/var/openfaas/secrets", "folder of the function's secrets")
	if s.Bool("jwt_auth", false, "refused when true: authentication is the gateway's work here") {
		s.Fail("jwt_auth", "is not available; without it nobody would be kept out, so unset it and authenticate before the function")
	}
	if c.WriteTimeout == 0 {
		s.Fail("write_timeout", "0 would cut every response; give a duration such as 30s")
	}
	if c.UpgradeIdle == 0 {
		s.Fail("upgrade_idle_timeout", "0 would cut every WebSocket; give a duration such as 5m")
	}
}

func declareLogs(s *env.Set, c *Config) {
	c.PrefixLogs = s.Bool("prefix_logs", true, `put the time and "stdout:" or "stderr:" before lines of a forked function; the time is left out where log_file stamps it`)
	c.LogCallID = s.Bool("log_callid", s.Bool("log_call_id", false, "same as log_callid"), "put the request's X-Call-Id into its log line")
	const size = "log_buffer_size"
	switch v := s.String(size, "65536", "longest line of output in bytes, longer ones are split; -1: 1Mi"); v {
	case "-1":
		c.LogBufferSize = 1 << 20
	default:
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			s.Fail(size, "%q is neither a number of bytes nor -1", v)
		}
		c.LogBufferSize = n
	}
	c.LogFile = s.String("log_file", "", "file for all output, each line stamped, rotated at 8 MiB; empty: standard output and error, as they are")
}

func declareModels(s *env.Set, c *Config) {
	c.ModelsPath = s.String("models_path", "models", "folder of the models: NAME/VERSION/model.onnx")
	c.Preload = parseSelection(s.String("preload", "", "models to make resident at start: all, or names with commas between"))
	c.Pin = parseSelection(s.String("pin", "", "models that are never evicted: all, or names with commas between"))
	c.ModelControl = s.Bool("model_control", false, "let whoever can invoke the function load and unload its models at /v2/repository/models; others wait longer for theirs then")
	c.CacheSocket = s.String("cachemgr_socket", "/run/faas-gpu/oip.sock", "Unix socket of the node's cache manager")
	c.CacheMode = s.OneOf("cachemgr_mode", ModeAttach, "attach to the node's cache manager, or start one as a child for this function alone", ModeAttach, ModeChild)
	c.CacheBinary = s.String("cachemgr_binary", "cachemgrd", "program that cachemgr_mode=child starts")
	c.CacheWait = s.Duration("cachemgr_wait", 10*time.Second, "longest time that a request waits for a cache manager that is away (503 then)")
	c.SharedMemory = s.Bytes("shared_memory", 64<<20, "bytes of memory to share with the cache manager, at most, for large tensors of Go handlers; 0: tensors go through the socket")
	if c.CacheMode == ModeChild {
		c.CacheChildData = filepath.Join(c.TempDir, "cachemgr")
		c.CacheSocket = filepath.Join(c.CacheChildData, "oip.sock")
	}
	if len(c.CacheSocket) >= socketPathLimit {
		s.Fail("cachemgr_socket", "%s is longer than the %d bytes that a socket's path may have", c.CacheSocket, socketPathLimit-1)
	}
}

func port(s *env.Set, name string, def int, usage string) int {
	n := s.Int(name, def, usage)
	if n > 65535 {
		s.Fail(name, "%d is not a port", n)
	}
	return n
}

package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/internal/env"
)

// Off in place of an address means not to listen there.
const Off = "off"

// Values of Config.Auth.
const (
	AuthToken = "token" // callers have tokens of the provider
	AuthNone  = "none"  // whoever reaches the node owns the one set of models
)

// Config of a Node. ReadConfig fills in all but the engine, the log and the
// version. Who fills it in by hand may leave limits and times zero: that means
// the defaults that ReadConfig has.
type Config struct {
	// Engine computes on the CPU; it may be nil where there is a GPU. The caller
	// closes it after Shutdown.
	Engine engine.Engine
	GPU    GPU          // zero: there is none
	Log    *slog.Logger // needed
	// Metrics are told of beside the node's own.
	Metrics []prometheus.Collector

	Name    string // of the node, for people; the host's by default
	Version string // of the program

	Listen        string  // TCP address of the protocol, or Off
	MetricsListen string  // TCP address of metrics and node routes, or Off
	SocketDir     string  // folder of the Unix socket, or Off
	Sockets       Sockets // those of a former run, for such addresses; Start takes them
	TLSCert       string  // files; needed for addresses that are not loopback
	TLSKey        string
	TLSClientCA   string // if set, clients need a certificate of this authority

	Auth           string // AuthToken or AuthNone
	TokenPublicKey string // file, for AuthToken

	StorePath  string // folder of the model files
	StoreQuota int64  // bytes of model files
	StoreEach  int64  // bytes of those of one function; 0: half of StoreQuota

	DeviceBudget int64 // bytes on each device; 0: see defaultBudgets
	HostBudget   int64 // bytes of staged models; 0: see defaultBudgets
	Concurrency  int   // requests that compute at once on a device; 0: one

	QueueDepth   int
	QueuePolicy  string        // order of what waits, see policies.go; "" is the default
	Eviction     string        // order of eviction, see policies.go; "" is the default
	NoPrefetch   bool          // models come when they are asked for, not when they are expected
	Transfers    int           // models on their way to a device at once; 0: two
	BatchDelay   time.Duration // how long a request waits for others to run with
	QueueTimeout time.Duration
	RunTimeout   time.Duration // of a request, waiting included
	LoadTimeout  time.Duration
	BodyTimeout  time.Duration
	MaxBody      int64 // bytes
	MaxOutput    int64 // bytes
	MaxInFlight  int64 // bytes of bodies and outputs of all requests together
	ShmQuota     int64 // bytes of memory that functions share with this process
	ShmEach      int64 // bytes of it of one function
	AllowPlans   bool

	MaxConnections int // of each listener; one process may have a quarter of the socket's
}

// defaultConnections is below what a process may have in open files on most systems,
// with room for the files.
const defaultConnections = 4096

// ReadConfig declares the variables of a node and reads them. What is wrong is
// reported by s.Err.
func ReadConfig(s *env.Set) Config {
	host, _ := os.Hostname() // a node without a name is none the worse
	c := Config{
		Name:           s.String("node_name", host, "name of this machine, as the runtime of functions knows it; no two nodes have one"),
		Listen:         s.String("listen", "127.0.0.1:8000", `address of the Open Inference Protocol; "off": none`),
		MetricsListen:  s.String("metrics_listen", "127.0.0.1:8002", `address of metrics and node status; "off": none`),
		SocketDir:      s.String("socket_dir", "/run/faas-gpu", `folder of the sockets oip.sock and shm.sock; "off": no sockets`),
		TLSCert:        s.String("tls_cert", "", "certificate file; needed to listen beyond loopback"),
		TLSKey:         s.String("tls_key", "", "key file of tls_cert"),
		TLSClientCA:    s.String("tls_client_ca", "", "certificate file of the authority that clients need a certificate of"),
		Auth:           s.OneOf("auth", AuthToken, "who may use what: token: a function its own models; none: who reaches it everything, the socket for this user only", AuthToken, AuthNone),
		TokenPublicKey: s.String("token_public_key", "", "file of the key that the provider's tokens are checked with; needed for auth=token"),
		StorePath:      s.String("store_path", "/var/lib/faas-gpu/store", "folder of the model files"),
		StoreQuota:     s.Bytes("store_quota", 16<<30, "bytes of model files"),
		StoreEach:      s.Bytes("store_function_quota", 0, "bytes of those of one function, all its models together; 0: half of store_quota"),
		DeviceBudget:   s.Bytes("device_budget", 0, "bytes of models on each device; 0: 9/10 of it, 4/10 where it shares the host's memory"),
		HostBudget:     s.Bytes("host_budget", 0, "bytes of models in host memory; 0: 4/10 of it"),
		Concurrency:    s.Int("concurrency", 0, "requests that compute at once on a device; 0: as many as keep it busy"),
		QueueDepth:     s.Int("queue_depth", 256, "requests that may wait (503 beyond); of one function, half"),
		QueuePolicy:    s.OneOf("queue_policy", PolicySLO, "who is served first: slo: who can still be in time and has least of it; rrc: functions by required request count; fifo: who came first", PolicySLO, PolicyRRC, PolicyFIFO),
		Eviction:       s.OneOf("eviction_policy", EvictGDSF, "which model leaves a device first: gdsf: whose bytes save least time; torpor: who is swapped in behind computing or is elsewhere too; lru: who was not used for longest", EvictGDSF, EvictTorpor, EvictLRU),
		NoPrefetch:     !s.Bool("prefetch", true, "bring models back before they are asked for, where that can be predicted"),
		BatchDelay:     s.Duration("batch_delay", 0, "how long a request waits for others of its model to run with, where the model takes batches and the device is free"),
		Transfers:      s.Int("transfers", 2, "models on their way to a device at once"),
		QueueTimeout:   s.Duration("queue_timeout", 30*time.Second, "longest wait in the queue (503)"),
		RunTimeout:     s.Duration("run_timeout", 60*time.Second, "longest inference, waiting included (504)"),
		LoadTimeout:    s.Duration("load_timeout", 2*time.Minute, "longest loading of a model"),
		BodyTimeout:    s.Duration("body_timeout", 30*time.Second, "longest wait for a body, and 1s more for each MiB (408)"),
		MaxBody:        s.Bytes("max_body", 32<<20, "bytes of a request for an inference (413)"),
		MaxOutput:      s.Bytes("max_output", 256<<20, "bytes of the outputs of an inference"),
		MaxInFlight:    s.Bytes("max_inflight_bytes", 2<<30, "bytes of the bodies and outputs of all requests together, of one function half (503 beyond)"),
		ShmQuota:       s.Bytes("shm_quota", 1<<30, "bytes of memory that functions share with this process for their tensors"),
		ShmEach:        s.Bytes("shm_function_quota", 256<<20, "bytes of that of one function, all its replicas together"),
		MaxConnections: s.Int("max_connections", defaultConnections, "connections of each listener; of the socket's, one process may have a quarter"),
		AllowPlans:     s.Bool("allow_plans", false, "accept serialized engines, which are native code"),
	}
	for _, p := range c.problems() {
		s.Fail(p.variable, "%s", p.what)
	}
	return c
}

// problem is a variable that does not fit the others.
type problem struct{ variable, what string }

// validate says what does not fit together, by the names of the variables.
func (c Config) validate() error {
	var errs []error
	for _, p := range c.problems() {
		errs = append(errs, fmt.Errorf("%s: %s", p.variable, p.what))
	}
	return errors.Join(errs...)
}

func (c Config) problems() []problem {
	var out []problem
	add := func(wrong bool, variable, what string) {
		if wrong {
			out = append(out, problem{variable, what})
		}
	}
	add(c.Auth != AuthToken && c.Auth != AuthNone, "auth", fmt.Sprintf("%q is neither %q nor %q", c.Auth, AuthToken, AuthNone))
	add(c.Auth == AuthToken && c.TokenPublicKey == "", "token_public_key",
		"not set; set it, or auth=none if everybody who reaches this node may use everything")
	add((c.TLSCert == "") != (c.TLSKey == ""), "tls_cert", "belongs together with tls_key: set both or none")
	add(c.TLSClientCA != "" && c.TLSCert == "", "tls_client_ca", "needs tls_cert and tls_key")
	add(off(c.Listen) && off(c.SocketDir), "listen", "is off, and so is socket_dir: nobody could reach this node")
	add(c.StorePath == "", "store_path", "not set")
	add(c.MaxConnections < 0, "max_connections", "is negative")
	add(c.StoreQuota <= 0, "store_quota", "without any bytes no model can be kept")
	for _, a := range []struct{ variable, address string }{{"listen", c.Listen}, {"metrics_listen", c.MetricsListen}} {
		what := c.addressProblem(a.address)
		add(what != "", a.variable, what)
	}
	return out
}

func off(address string) bool { return address == "" || address == Off }

// addressProblem is what is wrong with an address, "" if nothing: it would send
// tokens and tensors over a network in the clear, or let strangers in.
func (c Config) addressProblem(address string) string {
	if off(address) {
		return ""
	}
	host, _, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is neither HOST:PORT nor %q", address, Off)
	case loopback(host):
		return ""
	case c.TLSCert == "":
		return fmt.Sprintf("%q is not loopback: that needs tls_cert and tls_key", address)
	case c.Auth == AuthNone && c.TLSClientCA == "":
		return fmt.Sprintf("%q is not loopback: with auth=none that needs tls_client_ca", address)
	}
	return ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// secure reports whether connections to an address are made with TLS.
func (c Config) secure(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return c.TLSCert != "" && !loopback(host)
}

package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/internal/testengine"
	"github.com/faas-gpu/faas-gpu/internal/env"
)

func TestConfiguration(t *testing.T) {
	const key = "token_public_key=/k"
	for _, c := range []struct {
		environ []string
		says    string // "": good
	}{
		{[]string{key}, ""},
		{[]string{"auth=none"}, ""},
		{[]string{}, "token_public_key: not set"},
		{[]string{"auth=basic", key}, "auth:"},
		{[]string{key, "listen=[::1]:0", "metrics_listen=localhost:1"}, ""},
		{[]string{key, "listen=off", "metrics_listen=off"}, ""},
		{[]string{key, "listen=off", "socket_dir=off"}, "listen: is off, and so is socket_dir"},
		{[]string{key, "listen=:8000"}, `listen: ":8000" is not loopback: that needs tls_cert`},
		{[]string{key, "listen=0.0.0.0:8000"}, "is not loopback"},
		{[]string{key, "metrics_listen=10.0.0.1:8002"}, "metrics_listen:"},
		{[]string{key, "listen=example.org:8000"}, "is not loopback"},
		{[]string{key, "listen=8000"}, "neither HOST:PORT"},
		{[]string{key, "listen=:8000", "tls_cert=/c", "tls_key=/k"}, ""},
		{[]string{key, "tls_cert=/c"}, "belongs together with tls_key"},
		{[]string{key, "tls_client_ca=/c"}, "tls_client_ca: needs"},
		{[]string{"auth=none", "listen=:8000", "tls_cert=/c", "tls_key=/k"}, "with auth=none that needs tls_client_ca"},
		{[]string{"auth=none", "listen=:8000", "tls_cert=/c", "tls_key=/k", "tls_client_ca=/a"}, ""},
		{[]string{key, "store_quota=0"}, "store_quota:"},
		{[]string{key, "queue_depth=many", "max_body=1XB"}, "queue_depth:"},
	} {
		set := env.New(c.environ)
		ReadConfig(set)
		err := set.Err()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.environ, err, c.says)
		}
	}
}

func TestDefaultBudgets(t *testing.T) {
	gpu := engine.Device{ID: "gpu", TotalBytes: 1000}
	unified := engine.Device{ID: "cpu", TotalBytes: 1000, Unified: true}
	if got := defaultBudget(gpu); got != 900 {
		t.Errorf("a device of its own: %d", got)
	}
	if got := defaultBudget(unified); got != 400 {
		t.Errorf("the host's memory: %d", got)
	}
	if got := defaultHostBudget([]engine.Device{gpu, unified}); got != 400 {
		t.Errorf("host pool: %d", got)
	}
	if got := defaultHostBudget([]engine.Device{gpu}); got < 1<<26 {
		t.Errorf("host pool of this machine: %d", got)
	}
}

// startFails says why a node does not start; what it had opened is free again.
func startFails(t *testing.T, c Config) string {
	t.Helper()
	n, err := Start(t.Context(), c)
	if err == nil {
		shutdown(t, n)
		t.Fatal("it started")
	}
	return err.Error()
}

func TestStartFails(t *testing.T) {
	s := newSite(t)
	good := s.config(testengine.New(t.Errorf))
	long := filepath.Join(s.dir, strings.Repeat("x", 110))
	taken := start(t, s.config(testengine.New(t.Errorf)))
	other := newSite(t).config(testengine.New(t.Errorf))
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no engine":      {func(c *Config) { c.Engine = nil }, "and Log are needed"},
		"no key":         {func(c *Config) { c.TokenPublicKey = "/none" }, "token_public_key"},
		"no device":      {func(c *Config) { c.Engine = &testengine.Engine{Errorf: t.Errorf} }, "no device"},
		"store locked":   {func(c *Config) { c.StorePath = good.StorePath }, "in use by another process"},
		"socket taken":   {func(c *Config) { c.SocketDir = good.SocketDir }, "another process answers"},
		"socket path":    {func(c *Config) { c.SocketDir = long }, "a socket's has at most 107"},
		"address taken":  {func(c *Config) { c.Listen = taken.Address("listen").String() }, "address already in use"},
		"no certificate": {func(c *Config) { c.Listen, c.TLSCert, c.TLSKey = "0.0.0.0:0", "/none", "/none" }, "tls_cert"},
	} {
		t.Run(name, func(t *testing.T) {
			config := other
			c.change(&config)
			if got := startFails(t, config); !strings.Contains(got, c.says) {
				t.Errorf("it says %q, want %q", got, c.says)
			}
		})
	}
	shutdown(t, taken)
	shutdown(t, start(t, other)) // none of that left anything open
}

func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.dir, api.SocketOIP)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	n := start(t, s.config(testengine.New(t.Errorf)))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("socket: %v, %v", info, err)
	}
	shutdown(t, n)

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := startFails(t, s.config(testengine.New(t.Errorf))); !strings.Contains(got, "is no socket") {
		t.Errorf("a file in its place: %s", got)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestUsageNamesEveryVariable(t *testing.T) {
	set := env.New(nil)
	ReadConfig(set)
	var b strings.Builder
	if err := set.Usage(&b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"listen", "metrics_listen", "socket_dir", "store_path", "store_quota", "device_budget", "host_budget",
		"token_public_key", "auth", "queue_depth", "queue_policy", "eviction_policy", "transfers", "prefetch", "batch_delay", "queue_timeout", "run_timeout", "max_body", "max_output", "allow_plans", "node_name", "tls_client_ca"} {
		if !strings.Contains(b.String(), fmt.Sprintf("\n%s ", name)) {
			t.Errorf("%s is missing", name)
		}
	}
}

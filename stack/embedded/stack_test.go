package embedded

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is a stack in a folder of its own on a free port.
func testConfig(t *testing.T) Config {
	t.Helper()
	library := os.Getenv("ONNXRUNTIME_LIB")
	if library == "" {
		t.Skip("ONNXRUNTIME_LIB is not set: `make unit` sets it")
	}
	c, err := ReadConfig([]string{"state_dir=" + t.TempDir(), "port=0", "onnxruntime_library=" + library})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// status asks the API, with the password if there is one.
func status(t *testing.T, s *Stack, path, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	if password != "" {
		req.SetBasicAuth("admin", password)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestAStackServesAndComesBack(t *testing.T) {
	cfg := testConfig(t)
	var first string
	for range 2 {
		s, err := Start(t.Context(), cfg, quiet())
		if err != nil {
			t.Fatal(err)
		}
		password, err := os.ReadFile(cfg.PasswordFile())
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(password)
		}
		if string(password) != first {
			t.Error("the second start has another password")
		}
		for path, want := range map[string]int{"/healthz": 200, "/system/functions": 200, "/system/gpu": 200} {
			if got := status(t, s, path, strings.TrimSpace(first)); got != want {
				t.Errorf("%s: %d", path, got)
			}
		}
		if got := status(t, s, "/system/functions", ""); got != http.StatusUnauthorized {
			t.Errorf("without a password: %d", got)
		}
		if env, err := os.ReadFile(cfg.EnvFile()); err != nil || !strings.Contains(string(env), s.URL) {
			t.Errorf("env file: %q, %v", env, err)
		}
		if _, err := Start(t.Context(), cfg, quiet()); err == nil || !strings.Contains(err.Error(), "another stack runs on the folder "+cfg.StateDir) {
			t.Errorf("a second stack on one state folder: %v", err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(cfg.EnvFile()); err == nil {
			t.Error("the env file of a stack that has stopped is there")
		}
	}
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		breakIt func(*Config)
		want    string
	}{
		"no library":      {func(c *Config) { c.Library = "/nowhere/libonnxruntime.so" }, `"/nowhere/libonnxruntime.so", where onnxruntime_library says`},
		"port taken":      {func(c *Config) { c.Port = taken.Addr().(*net.TCPAddr).Port }, "set port to a free one"},
		"socket too long": {func(c *Config) { c.StateDir = filepath.Join(c.StateDir, strings.Repeat("x", 100)) }, "oip.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			good := cfg
			c.breakIt(&cfg)
			if s, err := Start(t.Context(), cfg, quiet()); err == nil {
				s.Stop(t.Context())
				t.Fatal("it started")
			} else if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q does not say %q", err, c.want)
			}
			if _, err := os.Stat(cfg.EnvFile()); err == nil {
				t.Error("there is an env file")
			}
			s, err := Start(t.Context(), good, quiet())
			if err != nil {
				t.Fatalf("what failed is in the way: %v", err)
			}
			if err := s.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, kind Kind, environ ...string) *Config {
	t.Helper()
	c, err := Read(environ, kind)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := read(t, InProcess)
	if c.Address() != ":8080" || c.MetricsAddress() != ":8081" {
		t.Errorf("addresses are %s and %s", c.Address(), c.MetricsAddress())
	}
	if c.ReadTimeout != 30*time.Second || c.WriteTimeout != 30*time.Second || c.ExecTimeout != 30*time.Second {
		t.Errorf("timeouts are %v, %v, %v", c.ReadTimeout, c.WriteTimeout, c.ExecTimeout)
	}
	if c.LockFile() != "/tmp/.lock" || c.TokenFile() != "/var/openfaas/secrets/faas-gpu-token" {
		t.Errorf("files are %s and %s", c.LockFile(), c.TokenFile())
	}
	if c.MaxInflight != 0 || !c.PrefixLogs || c.LogCallID || c.LogBufferSize != 65536 || c.CacheMode != ModeAttach {
		t.Errorf("defaults are %+v", c)
	}
}

func TestOfWatchdogNames(t *testing.T) {
	for _, tc := range []struct {
		environ []string
		ok      func(*Config) bool
	}{
		{[]string{"function_process=node a.js", "http_upstream_url=http://127.0.0.1:3000"},
			func(c *Config) bool {
				return slices.Equal(c.Command, []string{"node", "a.js"}) && c.Upstream.Host == "127.0.0.1:3000"
			}},
		{[]string{"fprocess=python  app.py", "function_process=x", "upstream_url=http://a:1/base", "http_upstream_url=http://b:2"},
			func(c *Config) bool {
				return slices.Equal(c.Command, []string{"python", "app.py"}) && c.Upstream.Path == "/base"
			}},
		{[]string{"fprocess=a", "upstream_url=http://a:1", "buffer_http=true", "log_call_id=true"},
			func(c *Config) bool { return c.BufferBody && c.LogCallID }},
		{[]string{"fprocess=a", "upstream_url=http://a:1", "http_buffer_req_body=1", "log_callid=1", "log_buffer_size=-1"},
			func(c *Config) bool { return c.BufferBody && c.LogCallID && c.LogBufferSize == 1<<20 }},
		{[]string{"fprocess=a", "upstream_url=http://a:1", "read_timeout=5", "write_timeout=7s", "exec_timeout=0", "max_inflight=3", "ready_path=/up"},
			func(c *Config) bool {
				return c.ReadTimeout == 5*time.Second && c.WriteTimeout == 7*time.Second && c.ExecTimeout == 0 && c.MaxInflight == 3 && c.ReadyPath == "/up"
			}},
	} {
		if c := read(t, Forked, append(tc.environ, "mode=http")...); !tc.ok(c) {
			t.Errorf("%v gave %+v", tc.environ, c)
		}
	}
}

func TestBadValues(t *testing.T) {
	good := []string{"mode=http", "fprocess=a", "upstream_url=http://a:1"}
	for _, tc := range []struct{ environ, want string }{
		{"mode=afterburn", `mode: "afterburn" is not one of streaming, serializing, http, static, model`},
		{"fprocess=", "fprocess: is empty; give the command that mode=http starts"},
		{"max_buffered=0", "max_buffered: 0 would refuse every body"},
		{"max_buffered=some", "max_buffered:"},
		{"upgrade_idle_timeout=0", "upgrade_idle_timeout: 0 would cut every WebSocket"},
		{"upstream_url=", "upstream_url: is empty"},
		{"upstream_url=localhost:5000", `upstream_url: "localhost:5000" is not a URL`},
		{"upstream_url=https://a", "upstream_url:"},
		{"write_timeout=0", "write_timeout: 0 would cut every response"},
		{"exec_timeout=soon", "exec_timeout:"},
		{"max_inflight=-1", "max_inflight:"},
		{"port=70000", "port: 70000 is not a port"},
		{"metrics_port=x", "metrics_port:"},
		{"log_buffer_size=0", "log_buffer_size:"},
		{"jwt_auth=true", "jwt_auth: is not available"},
		{"cachemgr_mode=auto", "cachemgr_mode:"},
		{"cachemgr_socket=/" + strings.Repeat("x", 120), "cachemgr_socket:"},
	} {
		_, err := Read(append(slices.Clone(good), tc.environ), Forked)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error is %v, want %q", tc.environ, err, tc.want)
		}
	}
}

func TestModes(t *testing.T) {
	for _, tc := range []struct {
		environ []string
		ok      func(*Config) bool
	}{
		{[]string{"fprocess=cat"}, func(c *Config) bool {
			return c.Mode == ModeStreaming && slices.Equal(c.Command, []string{"cat"}) && c.ContentType == "application/octet-stream" && c.MaxBuffered == 32<<20
		}},
		{[]string{"mode=serializing", "fprocess=wc -l", "content_type=text/plain", "max_buffered=1k"}, func(c *Config) bool {
			return c.Mode == ModeSerializing && c.ContentType == "text/plain" && c.MaxBuffered == 1000 && c.Upstream == nil
		}},
		{[]string{"mode=static"}, func(c *Config) bool { return c.StaticPath == "/home/app/public" && c.Command == nil }},
		{[]string{"mode=static", "fprocess=unused", "static_path=web"}, func(c *Config) bool { return c.StaticPath == "web" && c.Command == nil }},
		{[]string{"mode=model"}, func(c *Config) bool { return c.Command == nil }},
	} {
		if c := read(t, Forked, tc.environ...); !tc.ok(c) {
			t.Errorf("%v gave %+v", tc.environ, c)
		}
	}
	if _, err := Read([]string{"mode=serializing"}, Forked); err == nil || !strings.Contains(err.Error(), "fprocess: is empty") {
		t.Errorf("without a command: %v", err)
	}
}

func TestHandlersIgnoreForkedVariables(t *testing.T) {
	c := read(t, InProcess, "mode=inproc", "fprocess=./handler")
	if len(c.Command) != 0 {
		t.Errorf("command is %v", c.Command)
	}
}

func TestChildModeOwnsItsSocket(t *testing.T) {
	c := read(t, InProcess, "cachemgr_mode=child", "TMPDIR=/t", "cachemgr_socket=/run/faas-gpu/oip.sock")
	if c.CacheSocket != "/t/cachemgr/oip.sock" {
		t.Errorf("socket is %s", c.CacheSocket)
	}
}

func TestSelection(t *testing.T) {
	for _, tc := range []struct {
		value string
		a, b  bool
	}{
		{"", false, false}, {"false", false, false}, {"all", true, true}, {"true", true, true},
		{"a", true, false}, {"b, a,", true, true}, {"ab", false, false},
	} {
		s := parseSelection(tc.value)
		if s.Has("a") != tc.a || s.Has("b") != tc.b {
			t.Errorf("%q selects a: %v, b: %v", tc.value, s.Has("a"), s.Has("b"))
		}
	}
}

func TestUsageListsBothKinds(t *testing.T) {
	var handler, forked strings.Builder
	if err := Usage(&handler, InProcess); err != nil {
		t.Fatal(err)
	}
	if err := Usage(&forked, Forked); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"port", "max_inflight", "models_path", "cachemgr_socket"} {
		if !strings.Contains(handler.String(), name) || !strings.Contains(forked.String(), name) {
			t.Errorf("%s is missing", name)
		}
	}
	if strings.Contains(handler.String(), "upstream_url") || !strings.Contains(forked.String(), "upstream_url") {
		t.Error("upstream_url belongs to forked functions only")
	}
}

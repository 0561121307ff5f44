package docker

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/machine"
	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
	"github.com/faas-gpu/faas-gpu/provider/runtime/secrets"
)

func TestEnvironment(t *testing.T) {
	d := &runtime.Deployment{
		ID: runtime.ID{Namespace: "ns", Name: "f"},
		Request: types.FunctionDeployment{
			EnvProcess: "python3 index.py", EnvVars: map[string]string{"both": "request", "port": "1", "log_file": "/x", "cachemgr_socket": "/x"},
		},
		Environment: map[string]string{"both": "platform", "theirs": "1"},
	}
	want := []string{
		"OPENFAAS_NAME=f", "OPENFAAS_NAMESPACE=ns", "TMPDIR=/tmp", "bind=", "both=request",
		"cachemgr_socket=/run/faas-gpu/oip.sock", "fprocess=python3 index.py", "log_file=", "metrics_port=8081", "port=8080",
		"secret_mount_path=/var/openfaas/secrets", "theirs=1",
	}
	if got := environment(d, "oip.sock"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRequest(t *testing.T) {
	config, host := request(containerSpec{
		Image: "sha256:1", Network: "net", ReadOnly: true, MemoryBytes: 7 << 20, NanoCPUs: 5e8,
		StopTimeout: 1500 * time.Millisecond, Mounts: []bind{{"/a", "/b"}},
	})
	if *config.StopTimeout != 2 || !slices.Equal(config.Healthcheck.Test, []string{"NONE"}) || config.Image != "sha256:1" {
		t.Errorf("config %+v", config)
	}
	if !host.ReadonlyRootfs || host.Tmpfs["/tmp"] == "" || host.Memory != 7<<20 || host.MemorySwap != host.Memory ||
		host.NanoCPUs != 5e8 || host.NetworkMode != "net" || host.RestartPolicy.Name != "no" || len(host.DeviceRequests) != 0 {
		t.Errorf("host %+v", host)
	}
	if m := host.Mounts; len(m) != 1 || m[0].Source != "/a" || m[0].Target != "/b" || !m[0].ReadOnly {
		t.Errorf("mounts %+v", m)
	}
	if _, host := request(containerSpec{}); host.ReadonlyRootfs || host.Tmpfs != nil {
		t.Errorf("host %+v", host)
	}
}

func TestLimits(t *testing.T) {
	n := node{Machine: machine.Machine{CPUs: 2}, LimitsCPU: true}
	for _, c := range []struct {
		limits      runtime.Resources
		memory, cpu int64
	}{
		{runtime.Resources{}, 0, 0},
		{runtime.Resources{MemoryBytes: 1, MilliCPU: 1}, 6 << 20, 1e7},
		{runtime.Resources{MemoryBytes: 1 << 30, MilliCPU: 1500}, 1 << 30, 15e8},
		{runtime.Resources{MilliCPU: 64_000}, 0, 2e9},
		{runtime.Resources{MilliCPU: 1 << 62}, 0, 2e9},
	} {
		if m, p := memoryLimit(c.limits), n.cpuLimit(c.limits); m != c.memory || p != c.cpu {
			t.Errorf("%+v: %d bytes and %d nano-CPUs, want %d and %d", c.limits, m, p, c.memory, c.cpu)
		}
	}
	// The daemon would refuse the container.
	n.LimitsCPU = false
	if got := n.cpuLimit(runtime.Resources{MilliCPU: 1500}); got != 0 {
		t.Errorf("%d nano-CPUs asked of a daemon that knows no quota", got)
	}
}

func TestReaders(t *testing.T) {
	for user, want := range map[string]secrets.Reader{
		"": {UID: 0, Mode: 0o600}, "root": {UID: 0, Mode: 0o600}, "65532:65532": {UID: 65532, Mode: 0o600},
		"100": {UID: 100, Mode: 0o600}, "app": {UID: 0, Mode: 0o444}, "-1": {UID: 0, Mode: 0o444}, "4294967295": {UID: 0, Mode: 0o444},
	} {
		if got := (node{}).readerOf(user); got != want {
			t.Errorf("%q: %+v, want %+v", user, got, want)
		}
	}
	for options, want := range map[string]fs.FileMode{
		"": 0o600, "name=seccomp,profile=default": 0o600, "name=userns": 0o444, "name=rootless": 0o444, "name=userns,x=y": 0o444,
	} {
		n := node{RemapsUsers: remapsUsers([]string{"name=apparmor", options})}
		if got := n.readerOf("root").Mode; got != want {
			t.Errorf("security options %q: mode %v, want %v", options, got, want)
		}
	}
}

// TestRights is what a container cannot do whatever its image says.
func TestRights(t *testing.T) {
	_, host := request(containerSpec{Mounts: []bind{{From: "/a", To: "/b"}}})
	if host.Privileged || !slices.Contains(host.SecurityOpt, "no-new-privileges") || !slices.Contains(host.CapDrop, "NET_RAW") ||
		host.PidsLimit == nil || *host.PidsLimit != maxProcesses || len(host.CapAdd)+len(host.Devices)+len(host.DeviceRequests)+len(host.Binds) > 0 {
		t.Errorf("%+v", host)
	}
	for _, mode := range []bool{host.NetworkMode.IsHost(), host.PidMode.IsHost(), host.IpcMode.IsHost(), host.UTSMode.IsHost()} {
		if mode {
			t.Errorf("it shares what is the machine's: %+v", host)
		}
	}
	for _, m := range host.Mounts {
		if !m.ReadOnly {
			t.Errorf("%s can be written to", m.Source)
		}
	}
}

func TestMeter(t *testing.T) {
	var m meter
	at := time.Unix(1000, 0)
	for _, c := range []struct {
		sample usage
		want   runtime.Usage
	}{
		{usage{at, 5 * time.Second, 1}, runtime.Usage{MemoryBytes: 1}},
		{usage{at.Add(10 * time.Second), 10 * time.Second, 2}, runtime.Usage{MilliCPU: 500, MemoryBytes: 2}},
		{usage{at.Add(10 * time.Second), 11 * time.Second, 3}, runtime.Usage{MilliCPU: 500, MemoryBytes: 3}},
	} {
		if m.add(c.sample); m.read() != c.want {
			t.Errorf("after %+v: %+v, want %+v", c.sample, m.read(), c.want)
		}
	}
}

func TestReadPull(t *testing.T) {
	const whole = `{"status":"Pulling from library/x","id":"latest"}
{"status":"Pulling fs layer","id":"a"}{"status":"Already exists","id":"b"}
{"status":"Downloading","progressDetail":{"current":2500000,"total":9000000},"id":"a"}
{"status":"Pull complete","id":"a"}{"status":"Digest: sha256:1"}`
	var last string
	if err := readPull(strings.NewReader(whole), func(p string) { last = p }); err != nil || last != "2 of 2 layers, 2 MB loaded" {
		t.Errorf("%q, %v", last, err)
	}
	for text, want := range map[string]string{
		`{"status":"x"}{"errorDetail":{"message":"m"},"error":"denied"}`: "denied",
		`{"status":`: "account of a pull",
	} {
		if err := readPull(strings.NewReader(text), func(string) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestLines(t *testing.T) {
	const at = "2026-01-02T03:04:05.000000006Z"
	var got []line
	l := &lines{emit: func(l line) error { got = append(got, l); return nil }}
	for _, frame := range []string{at + " one\r\n", at + " begin", at + " ning\n", at + " \n", "bare\n", at + " end"} {
		if _, err := io.WriteString(l, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i, l := range got {
		texts = append(texts, l.text)
		if bare := l.text == "bare"; l.at.IsZero() != bare {
			t.Errorf("line %d, %q, is of %v", i, l.text, l.at)
		}
	}
	if want := []string{"one", "beginning", "", "bare", "end"}; !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
	full := errors.New("full")
	l = &lines{emit: func(line) error { return full }}
	if _, err := l.Write([]byte(at + " x\n")); !errors.Is(err, full) {
		t.Errorf("emit fails: %v", err)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.000000006Z one\n"), []byte("2026-01-02T03:04:05Z two"))
	f.Add([]byte("\n\n"), []byte(" \r\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		bytesOut := 0
		l := &lines{emit: func(l line) error {
			if strings.Contains(l.text, "\n") {
				t.Errorf("a line with a newline: %q", l.text)
			}
			bytesOut += len(l.text)
			return nil
		}}
		for _, frame := range [][]byte{a, b} {
			if n, err := l.Write(bytes.Clone(frame)); n != len(frame) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
		}
		if err := l.end(); err != nil || bytesOut > len(a)+len(b) {
			t.Errorf("%d bytes of %d, %v", bytesOut, len(a)+len(b), err)
		}
	})
}

func FuzzPull(f *testing.F) {
	f.Add([]byte(`{"status":"Downloading","progressDetail":{"current":1},"id":"a"}`))
	f.Add([]byte(`{"error":"x"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		_ = readPull(bytes.NewReader(stream), func(p string) { // any error is right, a panic is not
			if p == "" {
				t.Error("no words for progress")
			}
		})
	})
}

func FuzzRecord(f *testing.F) {
	f.Add("u", `{"UID":"u","Serial":1,"Revision":1,"Deployment":{"ID":{"Namespace":"openfaas-fn","Name":"f"}}}`)
	f.Add("u", `{`)
	f.Fuzz(func(t *testing.T, uid, text string) {
		r, err := parseRecord(map[string]string{labelUID: uid, labelRecord: text})
		if err == nil && (r.UID != uid || uid == "" || reconcile.CheckID(r.Deployment.ID) != nil || r.Desired < 0 || r.Serial < 1) {
			t.Errorf("accepted %q as %+v", text, r)
		}
	})
}

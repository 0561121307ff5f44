// Package arm64 tests the real programs, compiled for arm64, on a machine of
// another kind: qemu-user runs them, and the function that faas-cli's template
// makes, in a user namespace where the kernel starts it for files of that kind.
package arm64

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/openfaas/faas-provider/types"
	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/stack/digits"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// Variables that `make test-docker` sets.
const (
	qemuVariable    = "QEMU_AARCH64"      // the program qemu-aarch64
	sysrootVariable = "ARM64_SYSROOT"     // the folder of its C library
	libraryVariable = "ARM64_ONNXRUNTIME" // ONNX Runtime's library
	insideVariable  = "ARM64_INSIDE"
)

// cpuInfo is what ONNX Runtime reads before anything else: with that of another
// kind of processor it crashes.
const cpuInfo = `processor	: 0
BogoMIPS	: 100.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x1
CPU part	: 0xd07
CPU revision	: 0
`

// binaryFormat has the kernel start arm64 programs with the interpreter that is
// appended: their ELF header, and the mask of what counts in it.
const binaryFormat = `:arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:` +
	`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:`

// TestDigits deploys digits to a stack of arm64 programs and asks for all scans.
func TestDigits(t *testing.T) {
	for _, name := range []string{qemuVariable, sysrootVariable, libraryVariable} {
		if os.Getenv(name) == "" {
			t.Skipf("%s is not set: `make test-docker` installs what this test needs", name)
		}
	}
	if os.Getenv(insideVariable) == "" {
		runInNamespace(t)
		return
	}
	prepare(t)
	// Not t.TempDir: its path is too long for Unix sockets.
	dir, err := os.MkdirTemp("", "arm64-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	programs, err := lab.Build(t.Context(), filepath.Join(dir, "bin"))
	must(t, err)
	for _, program := range []string{programs.Provider, programs.Cachemgrd, programs.Watchdog, programs.Runtime} {
		wantArm64(t, program)
	}
	l, err := lab.Start(t.Context(), programs, lab.Options{Dir: filepath.Join(dir, "lab")})
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error("stop:", err)
		}
		if t.Failed() {
			t.Logf("provider:\n%s\ncachemgr:\n%s", l.Provider.Tail(), l.Cachemgr.Tail())
		}
	})
	must(t, l.Build(t.Context(), "digits", "go-trt", "", nil))
	must(t, l.Deploy(t.Context(), types.FunctionDeployment{Service: "digits", Image: "digits"}))
	recognise(t, l)
}

// prepare makes this namespace one where arm64 programs run, and are built.
func prepare(t *testing.T) {
	t.Helper()
	const formats = "/proc/sys/fs/binfmt_misc"
	must(t, unix.Mount("binfmt_misc", formats, "binfmt_misc", 0, ""))
	must(t, os.WriteFile(formats+"/register", []byte(binaryFormat+os.Getenv(qemuVariable)+":F"), 0o200))
	file := filepath.Join(t.TempDir(), "cpuinfo")
	must(t, os.WriteFile(file, []byte(cpuInfo), 0o444))
	must(t, unix.Mount(file, "/proc/cpuinfo", "", unix.MS_BIND, ""))
	for name, value := range map[string]string{
		"GOARCH": "arm64", "CGO_ENABLED": "1", "CC": "aarch64-linux-gnu-gcc", "CXX": "aarch64-linux-gnu-g++",
		"QEMU_LD_PREFIX": os.Getenv(sysrootVariable), "ONNXRUNTIME_LIB": os.Getenv(libraryVariable),
	} {
		t.Setenv(name, value)
	}
}

func wantArm64(t *testing.T, file string) {
	t.Helper()
	f, err := elf.Open(file)
	must(t, err)
	defer f.Close()
	if f.Machine != elf.EM_AARCH64 {
		t.Errorf("%s is for %v", file, f.Machine)
	}
}

// recognise wants nearly all scans recognised: that is the model's accuracy.
func recognise(t *testing.T, l *lab.Lab) {
	t.Helper()
	scans, err := digits.HeldOut()
	must(t, err)
	right := 0
	for _, scan := range scans {
		pixels, err := json.Marshal(scan.Pixels)
		must(t, err)
		a, err := l.Invoke(t.Context(), "digits", "", pixels)
		must(t, err)
		var got struct {
			Class int `json:"class"`
		}
		if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != http.StatusOK {
			t.Fatalf("digits answered %d: %s", a.Status, a.Body)
		}
		if got.Class == scan.Digit {
			right++
		}
	}
	accuracy := float64(right) / float64(len(scans))
	t.Logf("%d scans, %.3f are recognised", len(scans), accuracy)
	if accuracy < 0.95 {
		t.Errorf("%.3f of the scans are recognised", accuracy)
	}
}

// runInNamespace runs this test again in namespaces of its own: of users, where
// formats of programs can be added, and of mounts.
func runInNamespace(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "are recognised") {
			fmt.Print(line)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

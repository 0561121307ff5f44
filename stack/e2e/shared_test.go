package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// picture is a random input of the size of a picture, 602,112 bytes, and what a
// Relu makes of it.
func picture() (in, want []byte) {
	for range 3 * 224 * 224 {
		v := rand.Float32() - 0.5
		in = binary.LittleEndian.AppendUint32(in, math.Float32bits(v))
		want = binary.LittleEndian.AppendUint32(want, math.Float32bits(max(v, 0)))
	}
	return in, want
}

// shares reports whether the cache manager has memory of a function.
func shares(t *testing.T, l *lab.Lab) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", l.Cachemgr.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(maps, []byte("memfd:faas-gpu-tensors"))
}

// TestLargeTensorsAreShared: a handler that knows nothing of it has its tensors in
// memory that it shares with the cache manager, also after that was killed.
func TestLargeTensorsAreShared(t *testing.T) {
	l := start(t, lab.Options{})
	deployRaw(t, l, "relu", generate(t, modelgen.Spec{Family: modelgen.Relu}), raw("input", "output", "1,3,224,224"))
	ask := func() error {
		in, want := picture()
		a, err := l.Invoke(t.Context(), "relu", "", in)
		switch {
		case err != nil:
			return err
		case a.Status != http.StatusOK:
			return fmt.Errorf("status %d: %.200s", a.Status, a.Body)
		case !bytes.Equal(a.Body, want):
			return errors.New("wrong output")
		}
		return nil
	}
	for range 5 {
		must(t, ask())
	}
	if !shares(t, l) {
		t.Error("no memory is shared")
	}
	must(t, l.Cachemgr.Kill())
	must(t, l.Cachemgr.Restart(t.Context()))
	within(t, 20*time.Second, ask)
	within(t, 20*time.Second, func() error {
		if err := ask(); err != nil || shares(t, l) {
			return err
		}
		return errors.New("after a restart of the cache manager no memory is shared")
	})
}

// TestTritonClientInSharedMemory lets Triton's own client use a region that its
// program has handed over.
func TestTritonClientInSharedMemory(t *testing.T) {
	python := os.Getenv("TRITON_PYTHON")
	if python == "" {
		t.Skip("TRITON_PYTHON names no Python with the packages of requirements.txt; `make test` makes one")
	}
	l := start(t, lab.Options{})
	deployRaw(t, l, "relu", generate(t, modelgen.Spec{Family: modelgen.Relu}), raw("input", "output", "1,3,224,224"))
	token, err := l.Token("relu")
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimPrefix(l.URL, "http://") + "/function/relu." + lab.Namespace
	cmd := exec.CommandContext(t.Context(), python, "triton_shared.py", url, "m", filepath.Join(filepath.Dir(l.Socket), api.SocketShm))
	cmd.Env = append(os.Environ(), "TOKEN="+token)
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Fatalf("%v\n%s", err, out)
	}
}

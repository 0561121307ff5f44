package server

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// BenchmarkInferInSharedMemory is a request whose tensors of 600 KB do not go over
// the socket; its floor is an echo of what does.
func BenchmarkInferInSharedMemory(b *testing.B) {
	const floats = 3 * 224 * 224
	m := benchManager(floats)
	m.infer = func(context.Context, cachemgr.Request) (cachemgr.Result, error) {
		return cachemgr.Result{Outcome: api.CacheHit, Device: "cpu", Engine: "fake"}, nil
	}
	s := benchServer(b, m)
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 8*floats); err != nil {
		b.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		b.Fatal(err)
	}
	r, err := s.regions.Add(api.FunctionRef{}, fd)
	if err != nil {
		b.Fatal(err)
	}
	defer s.regions.Remove(r)
	body := []byte(strings.ReplaceAll(sharedFour(at(r.Name(), 0, 4*floats), at(r.Name(), 4*floats, 4*floats)), "[4]", "[150528]"))
	b.Run("infer", func(b *testing.B) { roundTrips(b, overSocket(b, s), body) })
	b.Run("echo", func(b *testing.B) { roundTrips(b, overSocket(b, http.HandlerFunc(echo)), body) })
}

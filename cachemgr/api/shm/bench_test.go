package shm_test

import (
	"fmt"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/server"
)

// BenchmarkInfer is a request with as many bytes in as out and without an engine,
// through the socket and in shared memory. (The server is in this process.)
func BenchmarkInfer(b *testing.B) {
	for _, size := range []int64{16 << 10, 64 << 10, 128 << 10, picture, 8 << 20} {
		for name, limit := range map[string]int64{"socket": 0, "shared": 256 << 20} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				s := startNode(b, size, server.Limits{})
				s.quick = true
				c := s.client(limit, quiet)
				x := make([]byte, size)
				b.ReportAllocs()
				for b.Loop() {
					resp, _, err := c.Infer(b.Context(), api.Call{Model: "m"}, &oip.Request{
						Inputs:        []tensor.Tensor{{Name: "x", Datatype: tensor.Uint8, Shape: []int64{size}, Data: x}},
						BinaryOutputs: true,
					})
					if err != nil {
						b.Fatal(err)
					}
					resp.Release()
				}
			})
		}
	}
}

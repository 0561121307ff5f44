package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
)

// TestSharedMemory: on a GPU, which copies them itself, and on the CPU tensors in
// shared memory give what tensors in messages give.
func TestSharedMemory(t *testing.T) {
	for name, c := range map[string]struct {
		format  string
		environ func(t *testing.T) []string
	}{
		"gpu": {"plan", func(t *testing.T) []string { return gpuEnviron(t, "allow_plans=true") }},
		"cpu": {"onnx", func(t *testing.T) []string { return []string{"onnxruntime_library=" + onnxLibrary(t), "threads=1"} }},
	} {
		t.Run(name, func(t *testing.T) {
			model := scaleModel(t, 1)
			environ := c.environ(t)
			if c.format == "plan" {
				model = planOf(t, model)
			}
			dir := socketDir(t)
			client, stop := startIn(t, dir, environ...)
			defer func() {
				if err := stop(); err != nil {
					t.Error(err)
				}
			}()
			if refused := offerOne(t, client, c.format, model, api.ModelConfig{}); refused != "" {
				t.Fatal(refused)
			}
			const rows = 8
			want, _, err := inferScale(t, client, api.Call{}, rows)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := shm.Dial(t.Context(), filepath.Join(dir, api.SocketShm), "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			m, err := shm.New(64 << 10)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			region, err := conn.Register(m)
			if err != nil {
				t.Fatal(err)
			}
			const in, out = 4096, 20000
			r := scaleInput(rows)
			size := int64(copy(m.Data[in:], r.Inputs[0].Data))
			r.Inputs[0].Data = nil
			r.Places = []oip.Place{{Region: region, Offset: in, Size: size}}
			r.Outputs = []oip.Output{{Name: "output", Place: oip.Place{Region: region, Offset: out, Size: size}}}
			for range 3 {
				clear(m.Data[out:])
				resp, _, err := client.Infer(t.Context(), api.Call{Model: "m"}, r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Release()
				if !bytes.Equal(m.Data[out:][:len(want)], want) {
					t.Errorf("the output is %v, want %v", m.Data[out:][:len(want)], want)
				}
			}
		})
	}
}

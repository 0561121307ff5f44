package server

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// share gives a function memory that the server has as a region.
func share(t *testing.T, s *Server, f api.FunctionRef, size int64) (name string, data []byte) {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		err = unix.Ftruncate(fd, size)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, err := s.regions.Add(f, fd)
	if err == nil {
		data, err = shm.Map(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shm.Unmap(data)
		if err := s.regions.Remove(r); err != nil {
			t.Error(err)
		}
		if n, bytes := s.regions.Usage(); n == 0 && bytes != 0 {
			t.Errorf("%d bytes are left of regions that are gone", bytes)
		}
	})
	return r.Name(), data
}

// at is a place as JSON parameters.
func at(region string, offset, size int64) string {
	return fmt.Sprintf(`"parameters":{"shared_memory_region":%q,"shared_memory_offset":%d,"shared_memory_byte_size":%d}`, region, offset, size)
}

// sharedFour is a request for four floats in shared memory.
func sharedFour(in, out string) string {
	text := `{"inputs":[{"name":"x","shape":[4],"datatype":"FP32",` + in + `}]`
	if out != "" {
		text += `,"outputs":[{"name":"y",` + out + `}]`
	}
	return text + `}`
}

func TestInferInSharedMemory(t *testing.T) {
	for name, shape := range map[string]int64{"known": 4, "not known before": -1} {
		t.Run(name, func(t *testing.T) {
			m := newFakeManager()
			m.spec.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{shape}}}
			m.infer = func(ctx context.Context, r cachemgr.Request) (cachemgr.Result, error) {
				if !r.Shared {
					t.Error("the manager is not told")
				}
				return double(ctx, r)
			}
			s, h := newServer(t, m, Limits{})
			region, data := share(t, s, api.FunctionRef{}, 8192)
			copy(data[4096:], floatBytes(1, 2, 3, 4))
			resp, body := send(t, "POST", h.URL+inferPath, sharedFour(at(region, 4096, 16), at(region, 64, 100)))
			want := `{"model_name":"twice","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[4],` + at(region, 64, 16) + `}]}`
			if resp.StatusCode != 200 || body != want || resp.Header.Get(oip.HeaderLength) != "" {
				t.Fatalf("answer is %d %s\nwant %s", resp.StatusCode, body, want)
			}
			if !bytes.Equal(data[64:80], floatBytes(2, 4, 6, 8)) || data[80] != 0 {
				t.Errorf("the output is %v", floats(data[64:96]))
			}
			// Each alone.
			if _, body := send(t, "POST", h.URL+inferPath, sharedFour(at(region, 4096, 16), "")); !strings.Contains(body, `"data":[2,4,6,8]`) {
				t.Errorf("an output in the body: %s", body)
			}
			clear(data[64:80])
			if resp, body := send(t, "POST", h.URL+inferPath, sharedFour(`"data":[1,2,3,4]`, at(region, 64, 16))); resp.StatusCode != 200 || !bytes.Equal(data[64:80], floatBytes(2, 4, 6, 8)) {
				t.Errorf("an input in the body: %d %s", resp.StatusCode, body)
			}
			waitFor(t, func() bool { return s.memory.taken() == 0 })
		})
	}
}

func TestSharedMemoryThatIsWrong(t *testing.T) {
	s, h := newServer(t, newFakeManager(), Limits{Body: 1000})
	region, data := share(t, s, api.FunctionRef{}, 100)
	foreign, _ := share(t, s, api.FunctionRef{Name: "bob"}, 100)
	copy(data, floatBytes(1, 2, 3, 4))
	for name, c := range map[string]struct {
		body   string
		status int
		says   string
	}{
		"unknown region":         {sharedFour(at("r", 0, 16), ""), 410, `input "x": unknown shared memory region "r"`},
		"another function's":     {sharedFour(at(foreign, 0, 16), ""), 410, `input "x": unknown shared memory region`},
		"unknown output region":  {sharedFour(`"data":[1,2,3,4]`, at("r", 0, 16)), 410, `output "y": unknown shared memory region "r"`},
		"beyond the end":         {sharedFour(at(region, 96, 16), ""), 400, "has 100 bytes: 16 from byte 96 on"},
		"far beyond the end":     {sharedFour(at(region, 1<<62, 16), ""), 400, "outside of the shared memory region"},
		"overflow":               {sharedFour(at(region, 1<<63-16, 16), ""), 400, "no number of 64 bits"},
		"negative":               {sharedFour(at(region, -1, 16), ""), 400, "offset is negative"},
		"size":                   {sharedFour(at(region, 0, 12), ""), 400, "has 16 bytes, shared_memory_byte_size is 12"},
		"room for the output":    {sharedFour(at(region, 0, 16), at(region, 0, 15)), 400, `output "y" has 16 bytes, and shared_memory_byte_size is 15`},
		"output beyond the end":  {sharedFour(at(region, 0, 16), at(region, 90, 16)), 400, `output "y": outside of`},
		"more than a body's may": {strings.ReplaceAll(sharedFour(at(region, 0, 4000), ""), "[4]", "[1000]"), 413, "more than 1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := send(t, "POST", h.URL+inferPath, c.body)
			if resp.StatusCode != c.status || !strings.Contains(body, strings.ReplaceAll(c.says, `"`, `\"`)) {
				t.Errorf("answer is %d %s, want %d with %q", resp.StatusCode, body, c.status, c.says)
			}
		})
	}
	waitFor(t, func() bool { return s.memory.taken() == 0 })
}

// An output whose size only the run tells can be too large for its place.
func TestSharedOutputThatDoesNotFit(t *testing.T) {
	m := newFakeManager()
	m.spec.Outputs = []tensor.Spec{{Name: "y", Datatype: tensor.FP32, Shape: []int64{-1}}}
	s, h := newServer(t, m, Limits{})
	region, data := share(t, s, api.FunctionRef{}, 100)
	resp, body := send(t, "POST", h.URL+inferPath, sharedFour(`"data":[1,2,3,4]`, at(region, 0, 15)))
	if resp.StatusCode != 400 || !strings.Contains(body, `has 16 bytes, and shared_memory_byte_size is 15`) || !bytes.Equal(data, make([]byte, 100)) {
		t.Errorf("answer is %d %s, the region holds %v", resp.StatusCode, body, data)
	}
}

// What a datatype does not allow is found in a copy, which is what the model gets.
func TestContentsOfSharedMemoryAreChecked(t *testing.T) {
	for _, c := range []struct {
		datatype tensor.Datatype
		data     string
		status   int
		says     string
	}{
		{tensor.Bool, "\x00\x01\x01\x00\x01\x00\x01\x00", 200, ""},
		{tensor.Bool, "\x00\x01\x02\x00\x01\x00\x01\x00", 400, "element 2 is 2, a BOOL is 0 or 1"},
		{tensor.Bytes, "\x04\x00\x00\x00abcd", 200, ""},
		{tensor.Bytes, "\xff\x00\x00\x00abcd", 400, "it has 255 bytes, only 4 follow"},
	} {
		m := newFakeManager()
		shape := int64(8)
		if c.datatype == tensor.Bytes {
			shape = 1
		}
		m.spec.Inputs = []tensor.Spec{{Name: "x", Datatype: c.datatype, Shape: []int64{shape}}}
		s, h := newServer(t, m, Limits{})
		region, data := share(t, s, api.FunctionRef{}, 8)
		copy(data, c.data)
		m.infer = func(_ context.Context, r cachemgr.Request) (cachemgr.Result, error) {
			clear(data) // the function changes its mind
			if string(r.In[0].Data) != c.data {
				t.Errorf("%s: the model gets %q", c.datatype, r.In[0].Data)
			}
			return cachemgr.Result{Outcome: api.CacheHit}, nil
		}
		resp, body := send(t, "POST", h.URL+inferPath, fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d],"datatype":%q,%s}]}`, shape, c.datatype, at(region, 0, 8)))
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %q: answer is %d %s", c.datatype, c.data, resp.StatusCode, body)
		}
	}
}

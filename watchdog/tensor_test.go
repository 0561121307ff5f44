package watchdog

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

func outputs(t ...Tensor) Outputs { return Outputs{&oip.Response{Version: "3", Outputs: t}} }

// roundTrip makes a tensor of values and reads it back.
func roundTrip[T Element](t *testing.T, want tensor.Datatype, values ...T) {
	t.Helper()
	in := NewTensor("x", []int64{int64(len(values))}, values)
	if in.Datatype != want || len(in.Data) != len(values)*want.Size() {
		t.Errorf("%s: tensor is %s with %d bytes", want, in.Datatype, len(in.Data))
	}
	if len(values) > 0 && unsafe.Pointer(&in.Data[0]) != unsafe.Pointer(&values[0]) {
		t.Errorf("%s: the data was copied", want)
	}
	got, err := Data[T](outputs(in), "x")
	if err != nil || !slices.Equal(got, values) {
		t.Errorf("%s: got %v, %v", want, got, err)
	}
}

func TestDatatypesRoundTrip(t *testing.T) {
	roundTrip(t, tensor.Bool, true, false)
	roundTrip[uint8](t, tensor.Uint8, 0, 255)
	roundTrip[uint16](t, tensor.Uint16, 0, math.MaxUint16)
	roundTrip[uint32](t, tensor.Uint32, 1, math.MaxUint32)
	roundTrip[uint64](t, tensor.Uint64, 1, math.MaxUint64)
	roundTrip[int8](t, tensor.Int8, -128, 127)
	roundTrip[int16](t, tensor.Int16, -1, 1)
	roundTrip[int32](t, tensor.Int32, math.MinInt32, 5)
	roundTrip[int64](t, tensor.Int64, math.MinInt64, 5)
	roundTrip[float32](t, tensor.FP32, 1.5, -0.25)
	roundTrip(t, tensor.FP64, math.Pi, math.Inf(1))
	roundTrip[float32](t, tensor.FP32)
}

func TestBytesAreLittleEndian(t *testing.T) {
	in := NewTensor("x", []int64{2}, []float32{1, -2})
	want := binary.LittleEndian.AppendUint32(nil, math.Float32bits(1))
	want = binary.LittleEndian.AppendUint32(want, math.Float32bits(-2))
	if !bytes.Equal(in.Data, want) {
		t.Errorf("bytes are %x, want %x", in.Data, want)
	}
}

func TestDataThatDoesNotLieRight(t *testing.T) {
	memory := make([]byte, 17)
	binary.LittleEndian.PutUint64(memory[1:], math.Float64bits(1.5))
	got, err := Data[float64](outputs(Tensor{Name: "x", Datatype: tensor.FP64, Shape: []int64{1}, Data: memory[1:9]}), "x")
	if err != nil || len(got) != 1 || got[0] != 1.5 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDataErrors(t *testing.T) {
	o := outputs(
		Tensor{Name: "a", Datatype: tensor.FP32, Data: make([]byte, 6)},
		Tensor{Name: "b", Datatype: tensor.Bool, Data: []byte{0, 2}},
	)
	for _, tc := range []struct {
		get  func() error
		want string
	}{
		{func() error { _, err := Data[float32](o, "c"); return err }, `no output "c"; it has ["a" "b"]`},
		{func() error { _, err := Data[int64](o, "a"); return err }, `output "a" is FP32, not INT64`},
		{func() error { _, err := Data[float32](o, "a"); return err }, "6 bytes are no whole number"},
		{func() error { _, err := Data[bool](o, "b"); return err }, "neither 0 nor 1"},
		{func() error { _, err := Data[bool](Outputs{}, "b"); return err }, `no output "b"`},
	} {
		if err := tc.get(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error is %v, want %q", err, tc.want)
		}
	}
	Outputs{}.Release()
	if o.Version() != "3" || (Outputs{}).Version() != "" {
		t.Error("version is wrong")
	}
}

package buffer

import (
	"testing"
	"unsafe"
)

func TestBuffersAreAlignedAndLongEnough(t *testing.T) {
	var p Pool
	for _, n := range []int{0, 1, 63, 4096, 4097, 602112, 1 << 20, 1<<26 + 1} {
		b := p.Get(n)
		if len(b.Data) != n {
			t.Errorf("Get(%d) has %d bytes", n, len(b.Data))
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(b.Data))); n > 0 && at%Align != 0 {
			t.Errorf("Get(%d) starts at %x", n, at)
		}
		if b.Cap() < n {
			t.Errorf("Get(%d) has a capacity of %d", n, b.Cap())
		}
		b.Release()
	}
}

func TestTwoOwnersNeverShare(t *testing.T) {
	var p Pool
	p.Get(5000).Release()
	a, b := p.Get(5000), p.Get(6000)
	for i := range a.Data {
		a.Data[i] = 1
	}
	for i := range b.Data {
		b.Data[i] = 2
	}
	for i, v := range a.Data {
		if v != 1 {
			t.Fatalf("byte %d was overwritten by the other buffer", i)
		}
	}
}

func TestReleaseOfNothing(t *testing.T) {
	var b *Buffer
	b.Release()
}

func TestRoundUp(t *testing.T) {
	for n, want := range map[int64]int64{0: 0, 1: 64, 64: 64, 65: 128} {
		if got := RoundUp(n); got != want {
			t.Errorf("RoundUp(%d) = %d, want %d", n, got, want)
		}
	}
}

func BenchmarkGetRelease600k(b *testing.B) {
	var p Pool
	b.ReportAllocs()
	for b.Loop() {
		p.Get(602112).Release()
	}
}

package tensor

import (
	"math"
	"testing"
)

func TestByteSize(t *testing.T) {
	for _, tt := range []struct {
		d     Datatype
		shape []int64
		want  int64 // -1: refused
	}{
		{FP32, []int64{2, 3}, 24}, {Bool, nil, 1}, {FP64, []int64{0, 5}, 0}, {BF16, []int64{7}, 14}, {Uint8, []int64{math.MaxInt64}, math.MaxInt64},
		{Bytes, []int64{1}, -1}, {"FP8", []int64{1}, -1}, {Int8, []int64{-1}, -1},
		{Int16, []int64{math.MaxInt64}, -1}, {Int8, []int64{1 << 32, 1 << 32}, -1},
	} {
		got, err := ByteSize(tt.d, tt.shape)
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("ByteSize(%s, %v) = %d, %v, want %d", tt.d, tt.shape, got, err, tt.want)
		}
	}
}

func TestFits(t *testing.T) {
	s := Spec{Shape: []int64{-1, 3}}
	for _, tt := range []struct {
		shape []int64
		want  bool
	}{{[]int64{5, 3}, true}, {[]int64{0, 3}, true}, {[]int64{5, 4}, false}, {[]int64{3}, false}, {[]int64{-1, 3}, false}, {nil, false}} {
		if got := s.Fits(tt.shape); got != tt.want {
			t.Errorf("%v fits %v: %v, want %v", tt.shape, s.Shape, got, tt.want)
		}
	}
}

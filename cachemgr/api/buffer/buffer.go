// Package buffer keeps byte buffers for reuse. Tensors of a request live in one
// and are computed on in place, so every buffer starts at an address that vector
// instructions like.
package buffer

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Align is the alignment of a buffer's first byte.
const Align = 64

// Buffers are kept in classes of powers of two; larger ones are left to the
// garbage collector.
const (
	minBits = 12 // 4 KiB
	maxBits = 26 // 64 MiB
)

// Pool hands out buffers. The zero value is ready for use.
type Pool struct {
	classes [maxBits - minBits + 1]sync.Pool
}

// Buffer is a piece of memory with one owner.
type Buffer struct {
	// Data has the length asked for. Its content is whatever was there before.
	Data []byte

	whole []byte     // the class's full, aligned length
	home  *sync.Pool // nil: not kept
}

// Get returns a buffer of n bytes.
func (p *Pool) Get(n int) *Buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minBits)
	if class > maxBits {
		whole := aligned(n)
		return &Buffer{Data: whole, whole: whole}
	}
	home := &p.classes[class-minBits]
	b, ok := home.Get().(*Buffer)
	if !ok {
		b = &Buffer{whole: aligned(1 << class), home: home}
	}
	b.Data = b.whole[:n]
	return b
}

// Release gives the buffer back; neither it nor its Data may be used after that.
// Releasing nil does nothing.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	b.Data = nil
	if b.home != nil {
		b.home.Put(b)
	}
}

// Cap is how far Data can be grown by slicing.
func (b *Buffer) Cap() int { return len(b.whole) }

// RoundUp is n, rounded up to a multiple of Align.
func RoundUp(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// aligned allocates n bytes that start at a multiple of Align.
func aligned(n int) []byte {
	b := make([]byte, n+Align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Align - 1))
	return b[skip : skip+n : skip+n]
}

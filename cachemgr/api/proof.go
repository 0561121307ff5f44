package api

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
)

const (
	proofBlocks = 64
	proofBlock  = 64 << 10 // bytes
)

// ProofOfPossession shows that the caller has the bytes of a file: the SHA-256,
// in hexadecimal, over the nonce and 64 blocks of 64 KiB of the file, at places
// that the nonce picks. A file of at most that much is taken whole. It reads 4
// MiB whatever the size, where the digest of a large file takes seconds.
func ProofOfPossession(nonce []byte, file io.ReaderAt, size int64) (string, error) {
	h := sha256.New()
	h.Write(nonce)
	if size <= proofBlocks*proofBlock {
		if n, err := io.Copy(h, io.NewSectionReader(file, 0, size)); err != nil || n < size {
			return "", fmt.Errorf("proof: read %d of %d bytes: %w", n, size, orShort(err))
		}
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	block := make([]byte, proofBlock)
	for i := range uint64(proofBlocks) {
		at := proofPlace(nonce, i, size)
		if n, err := file.ReadAt(block, at); n < len(block) {
			return "", fmt.Errorf("proof: read at byte %d of %d: %w", at, size, orShort(err))
		}
		h.Write(block)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// proofPlace is where block i starts: the first 8 bytes of the SHA-256 over the
// nonce and i (8 bytes, little-endian), modulo the number of places.
func proofPlace(nonce []byte, i uint64, size int64) int64 {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(append([]byte(nil), nonce...), i))
	return int64(binary.LittleEndian.Uint64(sum[:]) % uint64(size-proofBlock+1))
}

// orShort is err, or that the file is shorter than it should be.
func orShort(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

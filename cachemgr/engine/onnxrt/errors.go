package onnxrt

import (
	"fmt"
	"strings"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// noMemory are the texts that ONNX Runtime and the C++ library have for a failed
// allocation. The Go binding passes on the text of a status only, not its code,
// so the text has to be looked at; this is the only place that does.
var noMemory = []string{
	"bad_alloc",
	"Failed to allocate memory",
	"Available memory of",
	"std::length_error", // a vector of more elements than there are addresses
	"Integer overflow",
	"storage size overflowed",
}

// classify makes an error of the contract of one of the runtime's; otherwise is
// what it is if it is not about memory.
func classify(err, otherwise error) error {
	text := err.Error()
	for _, s := range noMemory {
		if strings.Contains(text, s) {
			return fmt.Errorf("%w: %w", engine.ErrNoMemory, err)
		}
	}
	return fmt.Errorf("%w: %w", otherwise, err)
}

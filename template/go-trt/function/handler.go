// Package function answers the requests of this function.
package function

import (
	"encoding/json"
	"net/http"

	"github.com/faas-gpu/faas-gpu/examples/scan"
	"github.com/faas-gpu/faas-gpu/watchdog"
)

// answer is what a caller gets.
type answer struct {
	Class         int       `json:"class"`
	Probabilities []float32 `json:"probabilities"`
}

// Handle recognises a handwritten digit: a PNG, or JSON with 64 pixels.
func Handle(w http.ResponseWriter, r *http.Request) {
	pixels, err := scan.Read(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	// The model is example/digits/1/model.onnx. The watchdog has told the node of
	// it, which has it loaded or loads it now.
	out, err := watchdog.Model("digits").Infer(r.Context(),
		watchdog.NewTensor("pixels", []int64{1, 1, scan.Side, scan.Side}, pixels))
	if err != nil {
		watchdog.Error(w, err)
		return
	}
	probabilities, err := watchdog.Data[float32](out, "probabilities")
	if err != nil {
		watchdog.Error(w, err)
		return
	}

	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer{Class: largest(probabilities), Probabilities: probabilities})
}

// largest is the index of the largest value.
func largest(values []float32) int {
	best := 0
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	return best
}

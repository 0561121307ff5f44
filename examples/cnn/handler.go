// Package function runs a CNN on a picture that is sent as it is: 3 planes of
// FP32, little-endian, each as high as wide. The answer is the output tensor as
// it is. Put it in the place of the handler that `faas-cli new --lang go-trt`
// writes, with the model at models/cnn/1/model.onnx.
package function

import (
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/watchdog"
)

const (
	planes  = 3
	float   = 4        // bytes
	maxBody = 12 << 20 // a picture of 1024x1024
)

// Handle answers with the output of the model cnn.
func Handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	side := int64(math.Sqrt(float64(len(body) / float / planes)))
	if side == 0 || side*side*planes*float != int64(len(body)) {
		http.Error(w, fmt.Sprintf("a body of %d bytes is not 3 square planes of FP32", len(body)), http.StatusBadRequest)
		return
	}
	picture := tensor.Tensor{Name: "input", Datatype: tensor.FP32, Shape: []int64{1, planes, side, side}, Data: body}
	out, err := watchdog.Model("cnn").Infer(r.Context(), picture)
	if err != nil {
		watchdog.Error(w, err)
		return
	}
	defer out.Release()
	probabilities, ok := out.Tensor("output")
	if !ok {
		watchdog.Error(w, fmt.Errorf("the model has no output %q; it has %q", "output", out.Names()))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(probabilities.Data)
}

// Package function is the function that the benchmarks deploy: it takes the
// bytes of its model's FP32 input and answers with those of the output.
package function

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/watchdog"
)

// Handle answers with the output of the model that the environment names:
// model=NAME, input=NAME, shape=1,3,224,224, output=NAME.
func Handle(w http.ResponseWriter, r *http.Request) {
	shape, err := parseShape(os.Getenv("shape"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	size, err := tensor.ByteSize(tensor.FP32, shape)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body := make([]byte, size)
	if n, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, fmt.Sprintf("the body has %d bytes, the input %d", n, size), http.StatusBadRequest)
		return
	}
	in := tensor.Tensor{Name: os.Getenv("input"), Datatype: tensor.FP32, Shape: shape, Data: body}
	outputs, err := watchdog.Model(os.Getenv("model")).Infer(r.Context(), in)
	if err != nil {
		watchdog.Error(w, err)
		return
	}
	defer outputs.Release()
	out, ok := outputs.Tensor(os.Getenv("output"))
	if !ok {
		http.Error(w, fmt.Sprintf("the model has outputs %v, not %q", outputs.Names(), os.Getenv("output")), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(out.Data)))
	w.Write(out.Data)
}

func parseShape(text string) ([]int64, error) {
	var shape []int64
	for _, field := range strings.Split(text, ",") {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("environment shape=%q is not a list of numbers", text)
		}
		shape = append(shape, n)
	}
	return shape, nil
}

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine/onnxrt/onnxfile"
)

// readSignature reads an ONNX file as the cache manager will, so that one which
// it could not use is refused while its author looks on, and says what the model
// takes and gives.
func readSignature(path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Size() > onnxfile.MaxBytes {
		return "", fmt.Errorf("it has %d bytes; an ONNX file has at most %d", info.Size(), onnxfile.MaxBytes)
	}
	// Mapped, since only a small part of it is looked at.
	file, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, syscall.Munmap(file)) }()
	model, err := onnxfile.Parse(file)
	if err != nil {
		return "", err
	}
	return "takes " + values(model.Inputs) + "; gives " + values(model.Outputs), nil
}

// values is such as "pixels FP32 [1,1,8,8], mask BOOL [batch,8]".
func values(list []onnxfile.Value) string {
	if len(list) == 0 {
		return "nothing"
	}
	texts := make([]string, len(list))
	for i, v := range list {
		dims := make([]string, len(v.Dims))
		for j, d := range v.Dims {
			switch {
			case d.Size >= 0:
				dims[j] = strconv.FormatInt(d.Size, 10)
			case d.Name != "":
				dims[j] = d.Name
			default:
				dims[j] = "any"
			}
		}
		texts[i] = fmt.Sprintf("%s %s [%s]", v.Name, v.Datatype, strings.Join(dims, ","))
	}
	return strings.Join(texts, ", ")
}

// Command modelgen writes one generated ONNX model to a file.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

func main() {
	var s modelgen.Spec
	flag.StringVar((*string)(&s.Family), "family", "", fmt.Sprintf("one of %v", modelgen.Families()))
	flag.Uint64Var(&s.Seed, "seed", 1, "seed of the weights")
	flag.Float64Var(&s.Width, "width", 1, "multiplier of the numbers of channels")
	flag.IntVar(&s.Resolution, "size", 224, "height and width of the input in pixels")
	flag.IntVar(&s.Batch, "batch", 1, "first dimension; -1 for a dynamic one")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if err := run(*out, s); err != nil {
		fmt.Fprintln(os.Stderr, "modelgen:", err)
		os.Exit(1)
	}
}

// run leaves either a whole file or none.
func run(out string, s modelgen.Spec) (err error) {
	if out == "" {
		return fmt.Errorf("-o FILE is missing")
	}
	part := out + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(part)
		}
	}()
	if err := modelgen.Write(f, s); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(part, out)
}

package lab

import (
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/faas-gpu/faas-gpu/internal/image"
)

// Image puts a function into the folder of images without building it: a program
// that is there already, its arguments, and models by "NAME/VERSION/model.onnx" (or
// model.plan) with the files that hold them.
func (l *Lab) Image(name, program string, environ []string, models map[string]string) error {
	const workdir = "/home/app"
	images, err := image.Open(filepath.Join(l.Dir, "images"))
	if err != nil {
		return err
	}
	start := path.Join(workdir, "handler")
	files := []image.File{{Path: start, Mode: 0o755, Source: program}}
	for place, file := range models {
		files = append(files, image.File{Path: path.Join(workdir, "models", place), Mode: 0o644, Source: file})
	}
	img, err := image.Build(v1.Config{Entrypoint: []string{start}, Env: environ, WorkingDir: workdir}, files...)
	if err != nil {
		return err
	}
	_, err = images.Add(name, img)
	return err
}

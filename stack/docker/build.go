package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/faas-gpu/faas-gpu/internal/image"
)

// workdir is the working directory inside an image.
const workdir = "/home/app"

// build is `docker build` with its arguments.
func build(ctx context.Context, args, environ []string, stdout io.Writer) error {
	req, err := parseArgs(args)
	if err != nil {
		return err
	}
	cfg, err := readConfig(environ)
	if err != nil {
		return err
	}
	if req.context, err = filepath.Abs(req.context); err != nil {
		return err
	}
	rec, err := readRecipe(req.context)
	if err != nil {
		return err
	}
	for _, note := range req.notes {
		fmt.Fprintln(stdout, "Note:", note)
	}
	fmt.Fprintf(stdout, "Building %s as %s says; the Dockerfile is not read.\n", req.tag, recipeFile)

	began := time.Now()
	scratch, err := os.MkdirTemp("", "faas-gpu-build-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)

	// The models first: they are checked in a moment.
	files, err := collect(ctx, rec, req.context, stdout)
	if err != nil {
		return err
	}
	program, err := buildProgram(ctx, cfg, rec, req.context, scratch)
	if err != nil {
		return err
	}
	start := path.Join(workdir, filepath.Base(program))
	files = append(files, image.File{Path: start, Mode: 0o755, Source: program})
	digest, err := store(cfg.images, req, v1.Config{
		Entrypoint: []string{start},
		WorkingDir: workdir,
		Env:        environment(rec.Env),
		Labels:     req.labels,
	}, files)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Built %s, %s, in %.1f s.\n", req.tag, digest, time.Since(began).Seconds())
	return nil
}

// buildProgram returns the file that the image will start.
func buildProgram(ctx context.Context, cfg config, rec recipe, contextDir, scratch string) (string, error) {
	if rec.Program == programGo {
		out := filepath.Join(scratch, "handler")
		return out, buildGo(ctx, cfg, contextDir, out)
	}
	if cfg.watchdog == "" {
		return "", errors.New("FAAS_GPU_WATCHDOG is not set; it is in the file that `make up` tells you to source")
	}
	return cfg.watchdog, nil
}

// store puts the image into the folder of images.
func store(folder string, req request, config v1.Config, files []image.File) (digest string, err error) {
	images, err := image.Open(folder)
	if err != nil {
		return "", err
	}
	img, err := image.Build(config, files...)
	if err != nil {
		return "", err
	}
	return images.Add(req.tag, img)
}

// environment is in the form of an image's configuration, in a fixed order.
func environment(vars map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, name+"="+vars[name])
	}
	return out
}

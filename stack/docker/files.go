package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/watchdog/models"
)

// modelsName is the folder of the models in the working directory, the
// watchdog's default.
const modelsName = "models"

// collect lists the files that a recipe copies from a context. A path that has
// a rule of its own is left out of the folder that holds it.
func collect(ctx context.Context, rec recipe, contextDir string, stdout io.Writer) ([]image.File, error) {
	var files []image.File
	for i, rule := range rec.Copy {
		source, err := pick(rule, contextDir)
		if err != nil {
			return nil, err
		}
		if source == "" {
			continue
		}
		if rule.Else != "" && source == filepath.Join(contextDir, rule.Else) {
			fmt.Fprintf(stdout, "Note: the function has no folder %s, so %s is taken.\n", filepath.Base(rule.From), filepath.Base(rule.Else))
		}
		if filepath.Clean(rule.To) == modelsName {
			if err := checkModels(ctx, source, stdout); err != nil {
				return nil, err
			}
		}
		var others []string
		for j, r := range rec.Copy {
			for _, from := range r.sources() {
				if i != j {
					others = append(others, filepath.Join(contextDir, from))
				}
			}
		}
		found, err := walk(source, path.Join(workdir, filepath.ToSlash(rule.To)), others)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

// pick returns the path that a rule takes; "" if it takes none.
func pick(rule copyRule, contextDir string) (string, error) {
	for _, from := range rule.sources() {
		source := filepath.Join(contextDir, from)
		if _, err := os.Stat(source); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return source, err
		}
	}
	if rule.Optional {
		return "", nil
	}
	return "", fmt.Errorf("%s, which %s names, is missing", rule.From, recipeFile)
}

// checkModels refuses a folder that the watchdog could not use, or the cache
// manager, and writes the digests of its models into it, so that no start of a
// function reads them whole.
func checkModels(ctx context.Context, dir string, stdout io.Writer) error {
	folder, err := models.WriteDigests(ctx, dir)
	if folder != nil {
		for _, warning := range folder.Warnings {
			fmt.Fprintln(stdout, "Warning:", warning)
		}
	}
	if err != nil {
		return fmt.Errorf("the models cannot be used:\n%w", err)
	}
	if len(folder.Models) == 0 {
		fmt.Fprintln(stdout, "Warning: there are no models: a model is at models/NAME/VERSION/model.onnx")
	}
	var problems []error
	for _, m := range folder.Models {
		fmt.Fprintf(stdout, "Model %s, version %s: %d bytes, %s\n", m.Offer.Name, m.Offer.Version, m.Offer.Size, m.Offer.Digest)
		if m.Offer.Format != "onnx" {
			continue
		}
		signature, err := readSignature(m.Path)
		if err != nil {
			problems = append(problems, fmt.Errorf("models/%s: %w", m.Relative, err))
			continue
		}
		fmt.Fprintf(stdout, "  %s\n", signature)
	}
	if len(problems) > 0 {
		return fmt.Errorf("the models cannot be used:\n%w", errors.Join(problems...))
	}
	return nil
}

// walk lists a file, or all files of a folder but those below skip, as they will
// be at target.
func walk(source, target string, skip []string) ([]image.File, error) {
	var files []image.File
	err := filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skip, p):
			return fs.SkipDir
		case d.IsDir() || slices.Contains(skip, p):
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", p)
		}
		rel, err := filepath.Rel(source, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		files = append(files, image.File{Path: path.Join(target, filepath.ToSlash(rel)), Mode: mode, Source: p})
		return nil
	})
	return files, err
}

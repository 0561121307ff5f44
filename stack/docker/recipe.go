package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

const recipeFile = "process.yaml"

// Programs that an image can start.
const (
	programGo       = "go"        // the Go program that the context is
	programWatchdog = "fwatchdog" // the watchdog, which starts a program of any language
)

// recipe is a template's process.yaml: what its image is made of.
type recipe struct {
	Program string            `yaml:"program"`
	Env     map[string]string `yaml:"env"`
	Copy    []copyRule        `yaml:"copy"`
}

// copyRule puts a file or folder of the context into the working directory.
type copyRule struct {
	From     string `yaml:"from"`
	Else     string `yaml:"else"` // taken where there is no From
	To       string `yaml:"to"`
	Optional bool   `yaml:"optional"` // both may be missing
}

// sources are the paths that a rule may take, the preferred one first.
func (c copyRule) sources() []string {
	if c.Else == "" {
		return []string{c.From}
	}
	return []string{c.From, c.Else}
}

// readRecipe reads the process.yaml of a context.
func readRecipe(context string) (recipe, error) {
	data, err := os.ReadFile(filepath.Join(context, recipeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return recipe{}, fmt.Errorf("%s has no %s, so it is of no template of faas-gpu.\n%s", context, recipeFile, whatItIs)
	}
	if err != nil {
		return recipe{}, err
	}
	r, err := parseRecipe(data)
	if err != nil {
		return recipe{}, fmt.Errorf("%s: %w", filepath.Join(context, recipeFile), err)
	}
	return r, nil
}

func parseRecipe(data []byte) (recipe, error) {
	var r recipe
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&r); err != nil {
		return r, err
	}
	if r.Program != programGo && r.Program != programWatchdog {
		return r, fmt.Errorf("program is %q, neither %q nor %q", r.Program, programGo, programWatchdog)
	}
	for _, c := range r.Copy {
		for _, p := range append(c.sources(), c.To) {
			if !filepath.IsLocal(p) {
				return r, fmt.Errorf("copy from %q to %q: %q is not a relative path that stays inside", c.From, c.To, p)
			}
		}
	}
	return r, nil
}

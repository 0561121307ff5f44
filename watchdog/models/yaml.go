package models

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"gopkg.in/yaml.v3"
)

// maxConfig is the largest model.yaml that is read, in bytes.
const maxConfig = 64 << 10

func readConfig(path string) (api.ModelConfig, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return api.ModelConfig{}, nil
	}
	if err != nil {
		return api.ModelConfig{}, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return api.ModelConfig{}, err
	}
	return parseConfig(text)
}

// parseConfig reads a model.yaml. A field that is not known is an error: it is
// more often a misspelt one than one from the future.
func parseConfig(text []byte) (api.ModelConfig, error) {
	var c api.ModelConfig
	if len(text) > maxConfig {
		return c, fmt.Errorf("is larger than %d bytes", maxConfig)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return api.ModelConfig{}, fmt.Errorf("%w (known: slo, accuracy, precisions, max_batch, fallback)", err)
	}
	return c, errors.Join(checkConfig(c)...)
}

func checkConfig(c api.ModelConfig) []error {
	var errs []error
	if c.SLO != "" {
		if d, err := time.ParseDuration(c.SLO); err != nil || d <= 0 {
			errs = append(errs, fmt.Errorf("slo: %q is not a duration such as 80ms", c.SLO))
		}
	}
	if !(c.Accuracy >= 0 && c.Accuracy <= 1) { // NaN is neither
		errs = append(errs, fmt.Errorf("accuracy: %v is not between 0 and 1", c.Accuracy))
	}
	if err := (api.ModelConfig{Precisions: c.Precisions}).Check(); err != nil {
		errs = append(errs, err)
	}
	if c.MaxBatch < 0 {
		errs = append(errs, fmt.Errorf("max_batch: %d is negative", c.MaxBatch))
	}
	switch c.Fallback {
	case "", "cpu", "wait", "refuse":
	default:
		errs = append(errs, fmt.Errorf("fallback: %q is not one of cpu, wait, refuse", c.Fallback))
	}
	return errs
}

package server

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// Limits of an offer.
const (
	maxModels     = 256       // of one function, all versions counted
	maxModelBytes = 2<<30 - 1 // of a file: what a protobuf message can have
	maxName       = 128       // bytes of a model's name
)

// checkOffer says what is wrong with an offer, nil if nothing is.
func checkOffer(o api.Offer, allowPlans bool) error {
	switch engine.Format(o.Format) {
	case engine.FormatONNX:
	case engine.FormatPlan:
		if !allowPlans {
			return fmt.Errorf(`format "plan" is native code, which this node does not accept (allow_plans); bring "onnx"`)
		}
	default:
		return fmt.Errorf(`format %q is unknown; "onnx" and "plan" are known`, o.Format)
	}
	if !validName(o.Name) {
		return fmt.Errorf(`name %q is not 1 to %d letters, digits, "_", "-" and "." that begin with a letter or digit`, o.Name, maxName)
	}
	if n, err := strconv.ParseInt(o.Version, 10, 32); err != nil || n < 1 || strconv.FormatInt(n, 10) != o.Version {
		return fmt.Errorf("version %q is not a whole number of 1 or more", o.Version)
	}
	if !validDigest(o.Digest) {
		return fmt.Errorf(`digest %q is not "sha256:" and 64 hexadecimal digits in lower case`, o.Digest)
	}
	if o.Size < 1 || o.Size > maxModelBytes {
		return fmt.Errorf("size of %d bytes is not within 1 to %d", o.Size, maxModelBytes)
	}
	return checkConfig(o.Config)
}

// checkDistinct makes sure that no name and version is offered twice.
func checkDistinct(offers []api.Offer) error {
	type key struct{ name, version string }
	seen := make(map[key]bool, len(offers))
	for _, o := range offers {
		k := key{o.Name, o.Version}
		if seen[k] {
			return fmt.Errorf("%w: model %q, version %q is offered twice", errBadRequest, o.Name, o.Version)
		}
		seen[k] = true
	}
	return nil
}

func checkConfig(c api.ModelConfig) error {
	if c.SLO != "" {
		if d, err := time.ParseDuration(c.SLO); err != nil || d <= 0 {
			return fmt.Errorf(`slo %q is not a duration such as "80ms"`, c.SLO)
		}
	}
	if !(c.Accuracy >= 0 && c.Accuracy <= 1) {
		return fmt.Errorf("accuracy %v is not within 0 to 1", c.Accuracy)
	}
	if c.MaxBatch < 0 {
		return fmt.Errorf("max_batch %d is negative", c.MaxBatch)
	}
	switch c.Fallback {
	case "", "cpu", "wait", "refuse":
		return nil
	}
	return fmt.Errorf(`fallback %q is not one of "cpu", "wait", "refuse"`, c.Fallback)
}

func validName(name string) bool {
	if name == "" || len(name) > maxName || strings.ContainsRune("_-.", rune(name[0])) {
		return false
	}
	for _, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && !strings.ContainsRune("_-.", r) {
			return false
		}
	}
	return true
}

func validDigest(d string) bool {
	digits, ok := strings.CutPrefix(d, "sha256:")
	if !ok || len(digits) != 64 || digits != strings.ToLower(digits) {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

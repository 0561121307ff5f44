package api

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// CheckDigest reports what is wrong with a digest. One that passes is safe to be
// a file name after its colon.
func CheckDigest(digest string) error {
	if !digestPattern.MatchString(digest) {
		return fmt.Errorf("digest %.80q is not \"sha256:\" and 64 lower-case hexadecimal digits", digest)
	}
	return nil
}

// CheckModelName reports what is wrong with the name of a model: it is one
// segment of a URL and of a path, of at most 255 bytes.
func CheckModelName(name string) error {
	bad := func(r rune) bool { return r == '/' || r == '\\' || !unicode.IsPrint(r) }
	switch {
	case name == "" || name == "." || name == ".." || len(name) > 255:
	case !utf8.ValidString(name) || strings.IndexFunc(name, bad) >= 0:
	default:
		return nil
	}
	return fmt.Errorf("model name %.300q is not 1 to 255 printable characters without slashes", name)
}

// CheckVersion reports what is wrong with the version of a model, a number from
// 1 on without leading zeros.
func CheckVersion(version string) error {
	if n, err := strconv.ParseInt(version, 10, 64); err != nil || n < 1 || strconv.FormatInt(n, 10) != version {
		return fmt.Errorf("version %.40q is not a whole number from 1 on", version)
	}
	return nil
}

// Check reports what is wrong with an offer.
func (o Offer) Check() error {
	if err := CheckModelName(o.Name); err != nil {
		return err
	}
	err := CheckVersion(o.Version)
	if err == nil {
		err = CheckDigest(o.Digest)
	}
	if err == nil {
		err = o.Config.Check()
	}
	switch {
	case err != nil:
	case o.Format != "onnx" && o.Format != "plan":
		err = fmt.Errorf("format %.40q is neither onnx nor plan", o.Format)
	case o.Size <= 0:
		err = fmt.Errorf("size %d is not a number of bytes", o.Size)
	}
	if err != nil {
		return fmt.Errorf("model %q: %w", o.Name, err)
	}
	return nil
}

// Check reports what is wrong with a model.yaml.
func (c ModelConfig) Check() error {
	if _, err := c.Objective(); err != nil {
		return err
	}
	if err := CheckFallback(c.Fallback); c.Fallback != "" && err != nil {
		return err
	}
	for i, p := range c.Precisions {
		if p != PrecisionFP16 && p != PrecisionFP32 {
			return fmt.Errorf("precision %.40q is neither %s nor %s", p, PrecisionFP16, PrecisionFP32)
		}
		if slices.Contains(c.Precisions[:i], p) {
			return fmt.Errorf("precisions has %s twice", p)
		}
	}
	switch {
	case !(c.Accuracy >= 0 && c.Accuracy <= 1):
		return fmt.Errorf("accuracy %v is not between 0 and 1", c.Accuracy)
	case c.MaxBatch < 0:
		return fmt.Errorf("max_batch %d is negative", c.MaxBatch)
	}
	return nil
}

// CheckFallback reports what is wrong with a choice of what happens without a GPU.
func CheckFallback(f string) error {
	if f != FallbackCPU && f != FallbackWait && f != FallbackRefuse {
		return fmt.Errorf("fallback %.40q is none of %s, %s, %s", f, FallbackCPU, FallbackWait, FallbackRefuse)
	}
	return nil
}

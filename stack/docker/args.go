package main

import (
	"errors"
	"fmt"
	"strings"
)

// request is one `docker build`.
type request struct {
	context string
	tag     string
	labels  map[string]string
	notes   []string // what was asked for and is not done
}

// parseArgs reads the arguments after `docker build`, flags in any place, as
// Docker does.
func parseArgs(args []string) (request, error) {
	req := request{labels: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			if req.context != "" {
				return req, fmt.Errorf("two contexts, %q and %q", req.context, arg)
			}
			req.context = arg
			continue
		}
		name, value, hasValue := strings.Cut(arg, "=")
		if takesValue(name) && !hasValue {
			if len(args) == 0 {
				return req, fmt.Errorf("%s needs a value", name)
			}
			value, args = args[0], args[1:]
		}
		if err := req.flag(name, value); err != nil {
			return req, err
		}
	}
	if req.tag == "" {
		return req, errors.New("--tag IMAGE is missing")
	}
	if req.context == "" {
		return req, errors.New("the folder to build is missing")
	}
	return req, nil
}

func takesValue(name string) bool {
	switch name {
	case "--tag", "-t", "--build-arg", "--label", "--progress", "--secret", "--file", "-f", "--platform", "--target":
		return true
	}
	return false
}

func (req *request) flag(name, value string) error {
	switch name {
	case "--tag", "-t":
		if req.tag != "" {
			return fmt.Errorf("two tags, %q and %q: one is supported", req.tag, value)
		}
		req.tag = value
	case "--label":
		k, v, _ := strings.Cut(value, "=")
		req.labels[k] = v
	case "--build-arg":
		if k, v, _ := strings.Cut(value, "="); v != "" {
			req.notes = append(req.notes, "build argument "+k+" is not used: only a Dockerfile could")
		}
	case "--no-cache", "--squash", "--pull", "--quiet", "-q", "--rm", "--force-rm", "--progress":
		// They change how Docker builds, not what.
	default:
		return fmt.Errorf("%s is not supported.\n%s", name, whatItIs)
	}
	return nil
}

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestParseRecipeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "EOF"},
		"no program":       {"env: {a: b}", "neither"},
		"unknown program":  {"program: rust", "neither"},
		"misspelt field":   {"program: go\ncopies: []", "copies"},
		"from outside":     {"program: go\ncopy: [{from: ../secret, to: a}]", "stays inside"},
		"from the root":    {"program: go\ncopy: [{from: /etc/passwd, to: a}]", "stays inside"},
		"to the outside":   {"program: go\ncopy: [{from: a, to: ../../bin/sh}]", "stays inside"},
		"else outside":     {"program: go\ncopy: [{from: a, else: ../b, to: a}]", "stays inside"},
		"nothing to copy":  {"program: go\ncopy: [{from: '', to: a}]", "stays inside"},
		"not a list":       {"program: go\ncopy: a", "cannot unmarshal"},
		"not even a table": {"- 1", "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseRecipe([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzParseRecipe(f *testing.F) {
	f.Add([]byte("program: go\ncopy:\n  - {from: function/models, to: models, optional: true}\n"))
	f.Add([]byte("program: fwatchdog\nenv: {mode: http}\n"))
	f.Add([]byte("program: go\ncopy: [{from: ../x, to: ..}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecipe(data)
		if err != nil {
			return
		}
		for _, c := range r.Copy {
			for _, p := range []string{c.From, c.Else, c.To} {
				if rel, err := filepath.Rel("/root", filepath.Join("/root", p)); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
					t.Errorf("%q leads out", p)
				}
			}
		}
	})
}

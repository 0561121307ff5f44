package image

import (
	"path/filepath"
	"testing"
)

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	if err := applyAll(t, dir, layer(t, "f usr/bin/python3.11 x", "l usr/bin/python3 python3.11", "l bin /usr/bin", "d app")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/bin/python3": "usr/bin/python3.11", "/app": "app", "/app/../../bin": "usr/bin", "/": "", "": "",
		"/app/nothing": "-", "/usr/bin/python3/x": "-", "/etc/passwd": "-",
	} {
		got, err := Lookup(dir, name)
		if want == "-" {
			if err == nil {
				t.Errorf("%s: found %s", name, got)
			}
		} else if got != filepath.Join(dir, want) || err != nil {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
}

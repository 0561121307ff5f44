package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFolderOfSockets: what containers see is never what would give them the node.
func TestFolderOfSockets(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	for _, c := range []struct{ name, socket, host, says string }{
		{"a folder of its own", at("run", "oip.sock"), "unix://" + at("docker.sock"), ""},
		{"beside the state", at("state", "run", "oip.sock"), "unix://" + at("docker.sock"), ""},
		{"in the state", at("state", "docker", "oip.sock"), "unix://" + at("docker.sock"), "holds"},
		{"above the state", at("oip.sock"), "tcp://127.0.0.1:2375", "give the socket a folder of its own"},
		{"above it through a link", filepath.Join(link, "oip.sock"), "tcp://127.0.0.1:2375", "holds"},
		{"at Docker's socket", at("run", "oip.sock"), "unix://" + at("run", "docker.sock"), "docker.sock"},
	} {
		config := Config{Host: c.host, Dir: at("state", "docker"), CachemgrSocket: c.socket}
		if err := config.complete(); err != nil {
			t.Fatal(err)
		}
		r, err := open(t.Context(), config, newFakeDaemon())
		if err == nil {
			err = r.Close()
		}
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"": true, "faas-gpu": true, "host": false, "none": false, "bridge": false, "default": false, "a b": false, "container:x": false} {
		config := Config{Name: name, Dir: "d", CachemgrSocket: "s/oip.sock"}
		if err := config.complete(); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

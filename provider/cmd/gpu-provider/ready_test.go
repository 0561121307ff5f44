package main

import (
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCheckReady(t *testing.T) {
	dir := t.TempDir()
	p := startProgram(t, "port=0", "state_dir="+dir, "cachemgr_socket="+filepath.Join(dir, "none.sock"))
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	check := func(environ ...string) error {
		return command(t.Context(), []string{"gpu-provider", checkReady}, environ, io.Discard, nil)
	}
	for _, bind := range []string{"127.0.0.1", "0.0.0.0", ""} {
		if err := check("port="+u.Port(), "bind="+bind); err != nil {
			t.Errorf("bind=%s: %v", bind, err)
		}
	}
	if err := check("port=many"); err == nil || !strings.Contains(err.Error(), "port") {
		t.Errorf("a port that is none: %v", err)
	}
	p.signal(t, syscall.SIGTERM)
	for p.logs.Scan() { // to its end
	}
	if err := check("port=" + u.Port()); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("after its end: %v", err)
	}
}

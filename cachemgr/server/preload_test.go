package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// A function that wants its model resident from the start is ready when it was,
// and not while the engine refuses it.
func TestReadyMeansPreloaded(t *testing.T) {
	m := newFakeManager()
	i := newInstallation(t, m, openStore(t, t.TempDir()))
	who := i.function(t, alice, time.Hour)
	addModel(t, i.Server, alice, "m", "1")
	ready := func() (int, string) {
		status, _, text := post[struct{}](t, i, who, "GET", "/v2/models/m/ready", nil)
		return status, text
	}
	if status, text := ready(); status != 200 {
		t.Fatalf("not to be preloaded: %d %s", status, text)
	}
	o := offerOf("m", "1")
	o.Preload = true
	m.loadFails(fmt.Errorf("%w: no such operator", engine.ErrBadModel))
	offered(t, i, who, o)
	waitFor(t, func() bool {
		status, text := ready()
		return status == 503 && strings.Contains(text, "no such operator")
	})
	m.loadFails(errors.New("no room just now"))
	waitFor(t, func() bool { status, _ := ready(); return status == 200 })
	m.loadFails(nil)
	if status, text := ready(); status != 200 {
		t.Errorf("after its loading: %d %s", status, text)
	}
}

package attach

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/internal/fakecache"
)

func TestRefusedAndUnreadyModels(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	s.Hold(func() { s.Refuse["other"] = "it is a plan" })
	f := attachTo(t, s.Socket, time.Minute)
	f.awaitReady(t, `model "other" version 1 was refused: it is a plan`)
	if err := f.infer(t.Context(), "digits"); err != nil {
		t.Error(err)
	}
	err := f.infer(t.Context(), "other")
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Status != http.StatusInternalServerError || !strings.Contains(e.Message, "it is a plan") {
		t.Errorf("error is %v", err)
	}

	s2 := fakecache.Start(t, socket(t))
	s2.Hold(func() { s2.Unready["digits"] = "needs 40 GiB" })
	f2 := attachTo(t, s2.Socket, time.Minute)
	f2.awaitReady(t, `model "digits" cannot serve: on cpu: needs 40 GiB`)
	f2.awaitReady(t, "needs 40 GiB")
	if n := f2.log.count("needs 40 GiB"); n != 1 {
		t.Errorf("the reason is logged %d times", n)
	}
	s2.Hold(func() { delete(s2.Unready, "digits") })
	f2.awaitReady(t, "")
	s2.Hold(func() { s2.Unready["digits"] = "needs 40 GiB" })
	f2.awaitReady(t, "needs 40 GiB")
	if n := f2.log.count("needs 40 GiB"); n != 2 {
		t.Errorf("a reason that is true again is logged %d times", n)
	}
}

func TestProblemsOfTheFolderMakeItUnready(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	f := attachTo(t, s.Socket, time.Minute)
	f.Models.Problems = []error{errors.New("models/x: broken")}
	f.awaitReady(t, "models/x: broken")
}

func TestFileThatVanished(t *testing.T) {
	s := fakecache.Start(t, socket(t))
	s.Kill()
	f := attachTo(t, s.Socket, 50*time.Millisecond)
	os.Remove(f.paths["digits/1"])
	s.Restart(t, true)
	f.awaitReady(t, "digits version 1")
}

package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

func TestUploadOfAKnownFileShowsNothing(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	asAlice, asBob := i.function(t, alice, time.Hour), i.function(t, bob, time.Hour)
	o := offerOf("m", "1")
	offered(t, i, asAlice, o) // both are told to upload
	offered(t, i, asBob, o)
	if status, text := put(t, i, asAlice, o.Digest, content("m", "1")); status != 200 {
		t.Fatalf("upload: %d %s", status, text)
	}
	// Bob has the digest only, and sends as many other bytes.
	put(t, i, asBob, o.Digest, bytes.Repeat([]byte("x"), int(o.Size)))
	if i.works(t, asBob, "m") {
		t.Error("another function's model works")
	}
	if a := offered(t, i, asBob, o); a[0].Need != api.NeedProof {
		t.Errorf("offered again: %+v", a)
	}
}

func TestBadUploads(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	who := i.function(t, alice, time.Hour)
	o := offerOf("m", "1")
	huge := offerOf("huge", "1")
	huge.Size = 2 << 20 // the store's quota is 1 MiB
	offered(t, i, who, o, huge)
	for name, c := range map[string]struct {
		digest string
		body   []byte
		status int
		says   string
	}{
		"not offered": {digestOf([]byte("other")), []byte("other"), 503, "offer the models again"},
		"no digest":   {"..%2f..%2fetc%2fpasswd", []byte("x"), 503, "waits for no upload"},
		"short":       {o.Digest, []byte("x"), 400, "the body has 1"},
		"other bytes": {o.Digest, bytes.Repeat([]byte("x"), int(o.Size)), 400, "its digest is"},
		"no room":     {huge.Digest, make([]byte, huge.Size), 507, "quota"},
	} {
		if status, text := put(t, i, who, c.digest, c.body); status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	// A body of unknown length that goes on for too long.
	r, err := http.NewRequest("PUT", i.url+api.RouteBlobs+o.Digest, io.MultiReader(bytes.NewReader(content("m", "1")), strings.NewReader("more")))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", who)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("a long body: %d", resp.StatusCode)
	}
	if status, text := put(t, i, who, o.Digest, content("m", "1")); status != 200 {
		t.Errorf("the right bytes after all: %d %s", status, text)
	}
}

func TestBadOffers(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	who := i.function(t, alice, time.Hour)
	change := func(f func(*api.Offer)) api.Offer {
		o := offerOf("m", "1")
		f(&o)
		return o
	}
	for says, o := range map[string]api.Offer{
		"model name":       change(func(o *api.Offer) { o.Name = "../m" }),
		"version":          change(func(o *api.Offer) { o.Version = "01" }),
		"digest":           change(func(o *api.Offer) { o.Digest = "sha256:../../x" }),
		"over the limit":   change(func(o *api.Offer) { o.Size = 3 << 30 }),
		"size":             change(func(o *api.Offer) { o.Size = -1 }),
		"format":           change(func(o *api.Offer) { o.Format = "pickle" }),
		"allow_plans":      change(func(o *api.Offer) { o.Format = "plan" }),
		"not a duration":   change(func(o *api.Offer) { o.Config.SLO = "fast" }),
		"between 0 and 1":  change(func(o *api.Offer) { o.Config.Accuracy = 7 }),
		"neither fp16 nor": change(func(o *api.Offer) { o.Config.Precisions = []string{"fp16", "fp8"} }),
		"fp16 twice":       change(func(o *api.Offer) { o.Config.Precisions = []string{"fp16", "fp16"} }),
		"none of cpu, wai": change(func(o *api.Offer) { o.Config.Fallback = "pray" }),
	} {
		good := offerOf("good", "1")
		a := offered(t, i, who, o, good)
		if a[0].Need != "" || !strings.Contains(a[0].Error, says) {
			t.Errorf("%s: %+v", says, a[0])
		}
		if a[1].Need != api.NeedUpload {
			t.Errorf("beside a bad offer a good one is %+v", a[1])
		}
	}
	many := make([]api.Offer, maxModels+1)
	for n := range many {
		many[n] = offerOf("m", fmt.Sprint(n+1))
	}
	for name, body := range map[string]any{
		"too many": api.OfferRequest{Models: many},
		"twice":    api.OfferRequest{Models: []api.Offer{offerOf("m", "1"), offerOf("m", "1")}},
		"no list":  map[string]any{"models": 7},
	} {
		if status, _, text := post[api.OfferResponse](t, i, who, "POST", api.RouteModels, body); status != 400 {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	resp, _ := send(t, "POST", i.url+api.RouteModels, strings.Repeat(" ", smallBody+1), "Authorization", who)
	if resp.StatusCode != 413 {
		t.Errorf("a body that is too large: %d", resp.StatusCode)
	}
}

func TestChallengesAreBounded(t *testing.T) {
	p := newPending()
	now := time.Now()
	p.replace(alice, []api.Offer{offerOf("m", "1")}, now)
	var nonces []string
	for range maxNonces + 1 {
		nonce, ok := p.challenge(alice, "d")
		if !ok {
			t.Fatal("refused")
		}
		nonces = append(nonces, nonce)
	}
	if n := len(p.functions[alice].nonces); n != maxNonces {
		t.Errorf("%d challenges are open, want %d", n, maxNonces)
	}
	if p.redeem(alice, nonces[0], "d") || !p.redeem(alice, nonces[1], "d") || p.redeem(alice, nonces[1], "d") || p.redeem(alice, nonces[2], "") {
		t.Error("not the oldest challenge has ended, or one is good twice, or for no file")
	}
	p.replace(bob, []api.Offer{offerOf("m", "1")}, now.Add(pendingFor+time.Second))
	if _, ok := p.find(alice, func(api.Offer) bool { return true }); ok {
		t.Error("what nobody brings is kept for ever")
	}
	if _, ok := p.challenge(alice, "d"); ok {
		t.Error("a challenge without an offer")
	}
}

func TestOneFileIsOneFormat(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	i.limits.AllowPlans = true
	i.catalog.accept = i.limits.acceptable
	addModel(t, i.Server, alice, "m", "1")
	plan := offerOf("m", "1")
	plan.Format = "plan"
	who := i.function(t, bob, time.Hour)
	a := offered(t, i, who, plan)
	if status, text := prove(t, i, who, a[0], content("m", "1")); status != 400 || !strings.Contains(text, "in use as") {
		t.Errorf("the same file as a plan: %d %s", status, text)
	}
	if a := offered(t, i, who, plan); a[0].Need != "" || !strings.Contains(a[0].Error, "in use as") {
		t.Errorf("offered again: %+v", a)
	}
	if !i.works(t, i.function(t, alice, time.Hour), "m") {
		t.Error("the other function's model does not work any more")
	}
}

func TestPlansEndWithTheirPermission(t *testing.T) {
	dir := t.TempDir()
	before := openStore(t, dir)
	o := offerOf("m", "1")
	o.Format = "plan"
	if err := before.Put(t.Context(), o.Digest, o.Size, bytes.NewReader(content("m", "1"))); err != nil {
		t.Fatal(err)
	}
	if err := before.Register(t.Context(), alice, time.Now(), o); err != nil {
		t.Fatal(err)
	}
	before.Close()
	i := newInstallation(t, newFakeManager(), openStore(t, dir))
	if i.works(t, i.function(t, alice, time.Hour), "m") {
		t.Error("a plan from before still works where plans are not allowed")
	}
}

func TestModelThatTheManagerRefuses(t *testing.T) {
	m := newFakeManager()
	i := newInstallation(t, m, openStore(t, t.TempDir()))
	addModel(t, i.Server, alice, "m", "1")
	m.addErr = cachemgr.ErrClosed
	a := offered(t, i, i.function(t, alice, time.Hour), offerOf("m", "1"))
	if !strings.Contains(a[0].Error, "closing") {
		t.Errorf("offer: %+v", a)
	}
}

// TestQuotaOfOneFunction refuses the models that are too much, and takes the others.
// A file under two names counts once, and each function for itself.
func TestQuotaOfOneFunction(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	who := i.function(t, alice, time.Hour)
	one, two := offerOf("m", "1"), offerOf("m", "2")
	again := one
	again.Name = "alias"
	i.Server.limits.StoreEach = one.Size + two.Size - 1
	a := offered(t, i, who, one, again, two)
	if a[0].Need != api.NeedUpload || a[1].Need != api.NeedUpload || a[2].Need != "" || !strings.Contains(a[2].Error, "store_function_quota") {
		t.Errorf("offered %+v", a)
	}
	if status, text := put(t, i, who, two.Digest, content("m", "2")); status != 503 {
		t.Errorf("the upload of what was refused: %d %s", status, text)
	}
	if a := offered(t, i, i.function(t, bob, time.Hour), two); a[0].Need != api.NeedUpload {
		t.Errorf("another function: %+v", a)
	}
}

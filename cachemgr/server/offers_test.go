package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

var bob = api.FunctionRef{Namespace: "ns", Name: "bob", UID: "1"}

// post sends JSON to an installation and reads the answer as T.
func post[T any](t *testing.T, i installation, who, method, path string, v any) (status int, answer T, text string) {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	resp, text := send(t, method, i.url+path, string(body), "Authorization", who)
	if resp.StatusCode == http.StatusOK {
		answer = decode[T](t, text)
	}
	return resp.StatusCode, answer, text
}

// offered sends an offer and returns what is needed.
func offered(t *testing.T, i installation, who string, offers ...api.Offer) []api.Offered {
	t.Helper()
	status, answer, text := post[api.OfferResponse](t, i, who, "POST", api.RouteModels, api.OfferRequest{Models: offers})
	if status != 200 || answer.Epoch != i.Epoch() || len(answer.Models) != len(offers) {
		t.Fatalf("offer: %d %s", status, text)
	}
	return answer.Models
}

func put(t *testing.T, i installation, who, digest string, body []byte) (int, string) {
	t.Helper()
	resp, text := send(t, "PUT", i.url+api.RouteBlobs+digest, string(body), "Authorization", who)
	return resp.StatusCode, text
}

func prove(t *testing.T, i installation, who string, o api.Offered, file []byte) (int, string) {
	t.Helper()
	nonce, err := base64.StdEncoding.DecodeString(o.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := api.ProofOfPossession(nonce, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	p := api.Proof{Name: o.Name, Version: o.Version, Digest: o.Digest, Nonce: o.Nonce, SHA256: sum}
	status, _, text := post[api.Offered](t, i, who, "POST", api.RouteProof, p)
	return status, text
}

func (i installation) works(t *testing.T, who, model string) bool {
	t.Helper()
	resp, body := send(t, "POST", i.url+"/v2/models/"+model+"/infer", four, "Authorization", who)
	if resp.StatusCode != 200 && resp.StatusCode != 404 {
		t.Fatalf("infer: %d %s", resp.StatusCode, body)
	}
	return resp.StatusCode == 200
}

func TestOfferUploadProof(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	asAlice, asBob := i.function(t, alice, time.Hour), i.function(t, bob, time.Hour)
	o := offerOf("m", "1")

	if a := offered(t, i, asAlice, o); a[0].Need != api.NeedUpload || a[0].Nonce != "" {
		t.Fatalf("a new file: %+v", a)
	}
	if i.works(t, asAlice, "m") {
		t.Error("a model without bytes works")
	}
	if status, text := put(t, i, asAlice, o.Digest, content("m", "1")); status != 200 {
		t.Fatalf("upload: %d %s", status, text)
	}
	if i.works(t, asAlice, "m") {
		t.Error("an upload alone makes a model work")
	}
	a := offered(t, i, asAlice, o)
	if a[0].Need != api.NeedProof {
		t.Fatalf("a file that is there: %+v", a)
	}
	if status, text := prove(t, i, asAlice, a[0], content("m", "1")); status != 200 || !i.works(t, asAlice, "m") {
		t.Fatalf("proof: %d %s", status, text)
	}
	if a := offered(t, i, asAlice, o); a[0].Need != "" || a[0].Error != "" {
		t.Errorf("a registered model: %+v", a)
	}
	// A new name for one's own file needs nothing.
	second := o
	second.Name = "again"
	if a := offered(t, i, asAlice, o, second); a[1].Need != "" || !i.works(t, asAlice, "again") {
		t.Errorf("a second name: %+v", a)
	}
	// Another function knows the digest only.
	b := offered(t, i, asBob, o)
	if b[0].Need != api.NeedProof || i.works(t, asBob, "m") {
		t.Fatalf("another function: %+v", b)
	}
	if status, text := prove(t, i, asBob, b[0], []byte("the file of somebody else")); status != 403 || !strings.Contains(text, "wrong") {
		t.Errorf("a wrong proof: %d %s", status, text)
	}
	if status, text := prove(t, i, asBob, b[0], content("m", "1")); status != 503 {
		t.Errorf("a nonce that was used: %d %s", status, text)
	}
	b = offered(t, i, asBob, o)
	asCarol := i.function(t, api.FunctionRef{Namespace: "ns", Name: "carol", UID: "1"}, time.Hour)
	offered(t, i, asCarol, o)
	if status, text := prove(t, i, asCarol, b[0], content("m", "1")); status != 503 {
		t.Errorf("a nonce of another function: %d %s", status, text)
	}
	if i.works(t, asBob, "m") {
		t.Error("a model works without proof")
	}
	if status, text := prove(t, i, asBob, b[0], content("m", "1")); status != 200 || !i.works(t, asBob, "m") {
		t.Errorf("a good proof: %d %s", status, text)
	}
	// What is no longer offered is gone; the file is another's too and stays.
	if offered(t, i, asAlice); i.works(t, asAlice, "m") || !i.works(t, asBob, "m") {
		t.Error("an empty offer withdraws the wrong models")
	}
}

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
	for range maxNonces {
		if _, ok := p.challenge(alice, "d"); !ok {
			t.Fatal("refused too early")
		}
	}
	if _, ok := p.challenge(alice, "d"); ok {
		t.Error("no end of challenges")
	}
	p.replace(bob, []api.Offer{offerOf("m", "1")}, now.Add(pendingFor+time.Second))
	if _, ok := p.find(alice, func(api.Offer) bool { return true }); ok {
		t.Error("what nobody brings is kept for ever")
	}
	if _, ok := p.challenge(alice, "d"); ok {
		t.Error("a challenge without an offer")
	}
}

func TestManyReplicasOfferAtOnce(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	var replicas sync.WaitGroup
	for range 8 {
		replicas.Go(func() {
			raw, _, err := i.signer.Function(alice, time.Hour)
			if err != nil {
				t.Error(err)
				return
			}
			c, err := api.NewClient(api.ClientConfig{Address: i.url, Token: func() string { return raw }})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			offer := api.OfferRequest{Models: []api.Offer{offerOf("a", "1"), offerOf("b", "1"), offerOf("b", "2")}}
			answers, err := c.Offer(t.Context(), offer, func(o api.Offer) (api.File, error) {
				return memoryFile{bytes.NewReader(content(o.Name, o.Version))}, nil
			})
			if err != nil {
				t.Error(err)
			}
			for _, a := range answers {
				if a.Error != "" {
					t.Error(a.Error)
				}
			}
		})
	}
	replicas.Wait()
	if n := len(i.catalog.entriesOf(alice)); n != 3 {
		t.Errorf("%d models are known", n)
	}
}

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

func TestPinsAndPreloads(t *testing.T) {
	m := newFakeManager()
	i := newInstallation(t, m, openStore(t, t.TempDir()))
	who := i.function(t, alice, time.Hour)
	addModel(t, i.Server, alice, "m", "1")
	o := offerOf("m", "1")
	o.Pin, o.Preload = true, true
	offered(t, i, who, o)
	waitFor(t, func() bool { return slices.Contains(m.loaded(), o.Digest) })
	if !m.Status().Models[o.Digest].Pinned {
		t.Error("not pinned")
	}
	o.Pin = false
	if offered(t, i, who, o); m.Status().Models[o.Digest].Pinned {
		t.Error("still pinned")
	}
	if offered(t, i, who); len(m.Status().Models) != 0 {
		t.Errorf("the manager still knows %v", m.Status().Models)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that in 10 s")
		}
	}
}

func TestPrefetch(t *testing.T) {
	m := newFakeManager()
	i := newInstallation(t, m, openStore(t, t.TempDir()))
	addModel(t, i.Server, alice, "m", "1")
	want := api.PrefetchRequest{Digest: offerOf("m", "1").Digest, Device: "cpu"}
	if status, _, text := post[struct{}](t, i, i.provider(t), "POST", api.RoutePrefetch, want); status != 202 {
		t.Errorf("prefetch: %d %s", status, text)
	}
	waitFor(t, func() bool { return len(m.loaded()) == 1 })
	want.Digest = "sha256:unknown"
	if status, _, text := post[struct{}](t, i, i.provider(t), "POST", api.RoutePrefetch, want); status != 404 {
		t.Errorf("of an unknown file: %d %s", status, text)
	}
}

func TestRestartKnowsAllModels(t *testing.T) {
	dir := t.TempDir()
	first := openStore(t, dir)
	i := newInstallation(t, newFakeManager(), first)
	addModel(t, i.Server, alice, "m", "1")
	addModel(t, i.Server, alice, "lost", "1")
	first.Close()
	if err := os.Remove(filepath.Join(dir, "blobs", strings.TrimPrefix(offerOf("lost", "1").Digest, "sha256:"))); err != nil {
		t.Fatal(err)
	}
	again := newInstallation(t, newFakeManager(), openStore(t, dir))
	who := again.function(t, alice, time.Hour)
	if !again.works(t, who, "m") || again.works(t, who, "lost") {
		t.Error("the models that work are others than those in the store")
	}
	if again.Epoch() == i.Epoch() {
		t.Error("two runs have one epoch")
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

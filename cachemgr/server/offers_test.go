package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	asAlice := i.function(t, alice, time.Hour)
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
	if offered(t, i, asAlice); i.works(t, asAlice, "m") {
		t.Error("a model that is no longer offered works")
	}
}

func TestADigestAloneIsNoRight(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	asAlice, asBob := i.function(t, alice, time.Hour), i.function(t, bob, time.Hour)
	addModel(t, i.Server, alice, "m", "1")
	o := offerOf("m", "1")
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

// Challenges that nobody answers, of replicas that ended meanwhile, do not shut
// the others out.
func TestUnansweredChallenges(t *testing.T) {
	i := newInstallation(t, newFakeManager(), openStore(t, t.TempDir()))
	addModel(t, i.Server, alice, "m", "1")
	asBob := i.function(t, bob, time.Hour)
	o := offerOf("m", "1")
	for range maxNonces {
		offered(t, i, asBob, o)
	}
	b := offered(t, i, asBob, o)
	if status, text := prove(t, i, asBob, b[0], content("m", "1")); status != 200 {
		t.Errorf("%+v: %d %s", b[0], status, text)
	}
	if n := len(i.pending.functions[bob].nonces); n > maxNonces {
		t.Errorf("%d challenges are open", n)
	}
}

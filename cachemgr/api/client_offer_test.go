package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// node is a cache manager as far as offers go: it wants a proof of what it has,
// and the upload of what it has not.
type node struct {
	mu         sync.Mutex
	blobs      map[string][]byte
	registered map[string]bool // name/version/digest
	events     []string
	full       bool
}

var nonce = []byte("0123456789abcdef")

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case r.URL.Path == RouteModels:
		var offer OfferRequest
		json.NewDecoder(r.Body).Decode(&offer)
		var out OfferResponse
		for _, o := range offer.Models {
			offered := Offered{Name: o.Name, Version: o.Version, Digest: o.Digest}
			switch {
			case o.Format == "plan":
				offered.Error = "no plans here"
			case n.registered[o.Name+o.Version+o.Digest]:
			case n.blobs[o.Digest] != nil:
				offered.Need, offered.Nonce = NeedProof, "MDEyMzQ1Njc4OWFiY2RlZg=="
			default:
				offered.Need = NeedUpload
			}
			out.Models = append(out.Models, offered)
		}
		n.events = append(n.events, "offer")
		json.NewEncoder(w).Encode(out)
	case r.URL.Path == RouteProof:
		var p Proof
		json.NewDecoder(r.Body).Decode(&p)
		blob := n.blobs[p.Digest]
		want, _ := ProofOfPossession(nonce, bytes.NewReader(blob), int64(len(blob)))
		if p.SHA256 != want {
			answer(http.StatusForbidden, `{"error":"the proof is wrong"}`)(w, r)
			return
		}
		n.registered[p.Name+p.Version+p.Digest] = true
		n.events = append(n.events, "proof "+p.Name)
		json.NewEncoder(w).Encode(Offered{Name: p.Name, Version: p.Version, Digest: p.Digest})
	case strings.HasPrefix(r.URL.Path, RouteBlobs):
		if n.full {
			answer(http.StatusInsufficientStorage, `{"error":"quota exceeded"}`)(w, r)
			return
		}
		digest := strings.TrimPrefix(r.URL.Path, RouteBlobs)
		if n.blobs[digest] == nil { // else it is answered unread
			n.blobs[digest], _ = io.ReadAll(r.Body)
		}
		n.events = append(n.events, fmt.Sprintf("upload %d", r.ContentLength))
	}
}

type memFile struct{ *bytes.Reader }

func (memFile) Close() error { return nil }

// files opens models by name.
type files map[string][]byte

func (f files) open(o Offer) (File, error) {
	if f[o.Name] == nil {
		return nil, fmt.Errorf("no file %s", o.Name)
	}
	return memFile{bytes.NewReader(f[o.Name])}, nil
}

func (f files) offer(names ...string) (r OfferRequest) {
	for _, name := range names {
		sum := sha256.Sum256(f[name])
		r.Models = append(r.Models, Offer{
			Name: name, Version: "1", Format: "onnx", Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(f[name])),
		})
	}
	return r
}

func random(seed uint64, size int) []byte {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestOffer(t *testing.T) {
	f := files{"small": []byte("abc"), "large": random(1, 5<<20), "known": random(2, 5<<20)}
	offer := f.offer("small", "large", "known")
	offer.Models = append(offer.Models, Offer{Name: "plan", Version: "1", Format: "plan"})
	n := &node{blobs: map[string][]byte{offer.Models[2].Digest: f["known"]}, registered: map[string]bool{}}
	c := serve(t, "unix", n)
	got, err := c.Offer(t.Context(), offer, f.open)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range got {
		if o.Name != offer.Models[i].Name || o.Need != "" || (o.Error != "") != (o.Name == "plan") {
			t.Errorf("answer %+v", o)
		}
	}
	want := []string{"offer", "upload 3", "upload 5242880", "proof known", "offer", "proof small", "proof large"}
	if !slices.Equal(n.events, want) {
		t.Errorf("events %v, want %v", n.events, want)
	}
	n.events = nil
	if _, err := c.Offer(t.Context(), offer, nil); err != nil { // nothing is opened now
		t.Error(err)
	}
	if !slices.Equal(n.events, []string{"offer"}) {
		t.Errorf("a second offer: %v", n.events)
	}
}

func TestOfferThatFails(t *testing.T) {
	f := files{"a": []byte("abc"), "b": []byte("def")}
	offer := f.offer("a", "b")
	newNode := func() *node { return &node{blobs: map[string][]byte{}, registered: map[string]bool{}} }

	n := newNode()
	n.full = true
	n.blobs[offer.Models[1].Digest] = f["b"]
	got, err := serve(t, "unix", n).Offer(t.Context(), offer, f.open)
	if err != nil || got[0].Error != "quota exceeded" || got[1].Error != "" || got[1].Need != "" {
		t.Errorf("one upload refused: %+v, %v", got, err)
	}

	n = newNode()
	n.blobs[offer.Models[0].Digest] = []byte("xyz")
	got, err = serve(t, "unix", n).Offer(t.Context(), offer, f.open)
	if err != nil || got[0].Error != "the proof is wrong" || got[1].Error != "" {
		t.Errorf("one proof refused: %+v, %v", got, err)
	}

	if _, err = serve(t, "unix", newNode()).Offer(t.Context(), offer, files{}.open); err == nil || !strings.Contains(err.Error(), "model a version 1: no file a") {
		t.Errorf("a file that cannot be opened: %v", err)
	}

	short := files{"a": []byte("ab"), "b": []byte("def")}
	if _, err = serve(t, "unix", newNode()).Offer(t.Context(), offer, short.open); err == nil {
		t.Error("a file shorter than announced was uploaded")
	}

	for name, text := range map[string]string{
		"never satisfied": `{"models":[{"need":"upload"},{"need":""}]}`,
		"too few":         `{"models":[{}]}`,
		"unknown need":    `{"models":[{"need":"money"},{}]}`,
		"bad nonce":       `{"models":[{"need":"proof","nonce":"*"},{}]}`,
	} {
		if _, err := serve(t, "unix", answer(200, text)).Offer(t.Context(), offer, f.open); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := serve(t, "unix", answer(503, "")).Offer(t.Context(), offer, f.open); !IsUnavailable(err) {
		t.Errorf("a node that is not ready: %v", err)
	}
}

func TestProofOfPossession(t *testing.T) {
	proof := func(nonce, content []byte, size int) string {
		t.Helper()
		p, err := ProofOfPossession(nonce, bytes.NewReader(content), int64(size))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	small := []byte("abc")
	sum := sha256.Sum256(append(bytes.Clone(nonce), small...))
	if got := proof(nonce, small, 3); got != hex.EncodeToString(sum[:]) {
		t.Errorf("a small file is not taken whole: %s", got)
	}
	large := random(3, 6<<20)
	first := proof(nonce, large, len(large))
	if first != proof(nonce, large, len(large)) {
		t.Error("the same proof twice differs")
	}
	if first == proof([]byte("another nonce"), large, len(large)) {
		t.Error("the nonce makes no difference")
	}
	// 64 of 96 possible blocks are read: some of ten changed bytes far apart show.
	changed := bytes.Clone(large)
	for i := range 10 {
		changed[i*len(changed)/10] ^= 1
	}
	if first == proof(nonce, changed, len(changed)) {
		t.Error("a changed file has the same proof")
	}
	for _, content := range [][]byte{small, large} {
		if _, err := ProofOfPossession(nonce, bytes.NewReader(content[:len(content)/2]), int64(len(content))); err == nil {
			t.Errorf("half a file of %d bytes has a proof", len(content))
		}
	}
	broken := errors.New("disk")
	if _, err := ProofOfPossession(nonce, readerAt(func() (int, error) { return 0, broken }), 5<<20); !errors.Is(err, broken) {
		t.Errorf("a disk that fails: %v", err)
	}
}

type readerAt func() (int, error)

func (r readerAt) ReadAt([]byte, int64) (int, error) { return r() }

func TestProofPlacesAreInTheFile(t *testing.T) {
	size := int64(proofBlocks*proofBlock + 1)
	for i := range uint64(proofBlocks) {
		if at := proofPlace(nonce, i, size); at < 0 || at+proofBlock > size {
			t.Errorf("block %d is at %d of %d", i, at, size)
		}
	}
}

func TestCheckOffer(t *testing.T) {
	good := files{"m": []byte("x")}.offer("m").Models[0]
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Offer){
		func(o *Offer) { o.Name = "" }, func(o *Offer) { o.Name = ".." }, func(o *Offer) { o.Name = "a/b" },
		func(o *Offer) { o.Name = "a\nb" }, func(o *Offer) { o.Name = strings.Repeat("a", 256) }, func(o *Offer) { o.Name = "\xff" },
		func(o *Offer) { o.Version = "" }, func(o *Offer) { o.Version = "0" }, func(o *Offer) { o.Version = "01" },
		func(o *Offer) { o.Version = "+1" }, func(o *Offer) { o.Version = "99999999999999999999" },
		func(o *Offer) { o.Format = "exe" }, func(o *Offer) { o.Digest = "sha256:abc" }, func(o *Offer) { o.Size = 0 },
		func(o *Offer) { o.Digest += "\n" }, func(o *Offer) { o.Digest = strings.Replace(o.Digest, "sha256:", "sha256:../", 1) },
		func(o *Offer) { o.Config.SLO = "soon" }, func(o *Offer) { o.Config.Accuracy = 1.5 },
		func(o *Offer) { o.Config.MaxBatch = -1 }, func(o *Offer) { o.Config.Fallback = "pray" },
	} {
		bad := good
		change(&bad)
		if bad.Check() == nil {
			t.Errorf("accepted: %+v", bad)
		}
	}
}

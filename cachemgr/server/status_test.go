package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// mirror is what a watcher knows of a node from the stream alone.
type mirror struct {
	generation uint64
	devices    map[string]api.DeviceStatus
	host       api.PoolStatus
	models     map[string]api.ModelStatus
	full       int
	last       time.Time
}

// apply takes one message; an error is a break of the protocol.
func (m *mirror) apply(line []byte) error {
	var n api.NodeStatus
	if err := json.Unmarshal(line, &n); err != nil {
		return err
	}
	switch {
	case n.Full:
		m.full++
		m.devices, m.models = map[string]api.DeviceStatus{}, map[string]api.ModelStatus{}
	case n.Generation != m.generation+1:
		return fmt.Errorf("generation %d follows %d", n.Generation, m.generation)
	}
	m.generation = n.Generation
	for _, d := range n.Devices {
		m.devices[d.ID] = d
	}
	for _, model := range n.Models {
		m.models[model.Digest] = model
	}
	for _, digest := range n.Gone {
		delete(m.models, digest)
	}
	if n.Host != nil {
		m.host = *n.Host
	}
	return nil
}

// fakeNames is a store's names in memory.
type fakeNames map[api.FunctionRef][]api.Offer

func (n fakeNames) Models(ref api.FunctionRef) []api.Offer { return n[ref] }
func (n fakeNames) Path(digest string) (string, error)     { return "/" + digest, nil }

func newTestHub(m *fakeManager) (*hub, fakeNames) {
	names := fakeNames{}
	return newHub("n1", "e1", m, newCatalog(names, m, func(api.Offer) error { return nil }, discard())), names
}

func TestWatchersSeeEveryChange(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	synctest.Test(t, func(t *testing.T) {
		m := newFakeManager()
		h, names := newTestHub(m)
		ctx, stop := context.WithCancel(t.Context())
		var watchers [3]mirror
		for i := range watchers {
			w := &watchers[i]
			go func() {
				err := h.watch(ctx, func(line []byte) error {
					if now := time.Now(); w.generation > 0 && now.Sub(w.last) < coalesce {
						t.Errorf("two messages within %v", now.Sub(w.last))
					} else {
						w.last = now
					}
					return w.apply(line)
				})
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}()
		}
		for range 300 {
			digest := fmt.Sprint("sha256:", random.IntN(5))
			if random.IntN(4) == 0 {
				changeNames(t, random, h, names, digest)
			} else {
				changeModel(random, m, digest)
			}
			time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		synctest.Wait()
		shown := h.now()
		for i, w := range watchers {
			models := make(map[string]*api.ModelStatus, len(w.models))
			for digest, m := range w.models {
				models[digest] = &m
			}
			if !reflect.DeepEqual(models, shown.models) || w.host != shown.host {
				t.Errorf("watcher %d has %+v, the node %+v", i, w.models, shown.models)
			}
			if w.full != 1 {
				t.Errorf("watcher %d got %d full snapshots", i, w.full)
			}
		}
	})
}

// changeNames gives a function the file as its one model, or takes its models.
func changeNames(t *testing.T, random *rand.Rand, h *hub, names fakeNames, digest string) {
	t.Helper()
	ref := api.FunctionRef{Name: fmt.Sprint("f", random.IntN(3))}
	names[ref] = []api.Offer{{Name: "m", Version: "1", Digest: digest}}
	if random.IntN(2) == 0 {
		delete(names, ref)
	}
	if refused := h.catalog.follow(ref); refused != nil {
		t.Error(refused)
	}
}

// changeModel changes what the manager shows of a file, or lets it forget it.
func changeModel(random *rand.Rand, m *fakeManager, digest string) {
	m.change(func(models map[string]cachemgr.ModelState) {
		if random.IntN(5) == 0 {
			delete(models, digest)
			return
		}
		models[digest] = cachemgr.ModelState{Bytes: random.Int64N(3), Staged: true}
	})
}

func TestWatcherThatLagsGetsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeManager()
		h, _ := newTestHub(m)
		ctx, stop := context.WithCancel(t.Context())
		var slow mirror
		proceed := make(chan struct{})
		go h.watch(ctx, func(line []byte) error {
			if err := slow.apply(line); err != nil {
				t.Error(err)
			}
			<-proceed
			return nil
		})
		synctest.Wait() // it has the first message and takes its time
		for i := range kept + 10 {
			m.change(func(models map[string]cachemgr.ModelState) {
				models[fmt.Sprint("sha256:", i)] = cachemgr.ModelState{}
			})
			h.now()
		}
		close(proceed)
		time.Sleep(time.Second)
		synctest.Wait()
		if slow.full != 2 || len(slow.models) != kept+10 {
			t.Errorf("%d full snapshots, %d models", slow.full, len(slow.models))
		}
		stop()
		synctest.Wait()
	})
}

func TestAChangeWaitsForThoseThatFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeManager()
		h, _ := newTestHub(m)
		ctx, stop := context.WithCancel(t.Context())
		var w mirror
		var came []time.Duration
		var began time.Time
		go h.watch(ctx, func(line []byte) error {
			came = append(came, time.Since(began))
			return w.apply(line)
		})
		time.Sleep(time.Minute) // nothing has happened for long
		synctest.Wait()
		began = time.Now()
		for i := range 4 {
			m.change(func(models map[string]cachemgr.ModelState) {
				models["sha256:1"] = cachemgr.ModelState{Bytes: int64(i)}
			})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(came) != 2 || came[1] != coalesce || w.models["sha256:1"].Bytes != 3 {
			t.Errorf("messages came after %v, the last says %+v", came, w.models)
		}
		stop()
		synctest.Wait()
	})
}

func TestNothingIsSentWithoutAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeManager()
		h, _ := newTestHub(m)
		ctx, stop := context.WithCancel(t.Context())
		sent := 0
		go h.watch(ctx, func([]byte) error { sent++; return nil })
		for range 20 {
			m.change(func(map[string]cachemgr.ModelState) {}) // a new generation of the same
			time.Sleep(20 * time.Millisecond)
		}
		stop()
		synctest.Wait()
		if sent != 1 {
			t.Errorf("%d messages", sent)
		}
	})
}

func TestStatusRoute(t *testing.T) {
	m := newFakeManager()
	s, h := newServer(t, m, Limits{})
	c, err := api.NewClient(api.ClientConfig{Address: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	messages := make(chan api.NodeStatus)
	ended := make(chan error, 1)
	go func() { ended <- c.WatchStatus(context.Background(), func(n api.NodeStatus) { messages <- n }) }()
	first := <-messages
	if !first.Full || first.Epoch != s.Epoch() || first.Node != "n1" || len(first.Devices) != 1 || len(first.Models) != 1 {
		t.Errorf("first message: %+v", first)
	}
	if names := first.Models[0].Names; len(names) != 1 || names[0].Name != "twice" {
		t.Errorf("names are %+v", names)
	}
	addModel(t, s, api.FunctionRef{Name: "f"}, "other", "3")
	for seen := (<-messages); ; seen = <-messages {
		if seen.Full {
			t.Fatalf("a second snapshot: %+v", seen)
		}
		if len(seen.Models) == 1 && len(seen.Models[0].Names) == 1 {
			break // the file and its name may come in two messages
		}
	}
	s.Drain()
	if err := <-ended; !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("the stream ended with %v", err)
	}
	resp, body := send(t, "GET", h.URL+"/v2/faas-gpu/status?once=1", "")
	if resp.StatusCode != 200 || strings.Contains(body, "\n") || !strings.Contains(body, `"full":true`) {
		t.Errorf("once: %d %s", resp.StatusCode, body)
	}
}

func TestCacheShowsOnlyOnesOwn(t *testing.T) {
	m := newFakeManager()
	s, h := newServer(t, m, Limits{})
	addModel(t, s, api.FunctionRef{Namespace: "ns", Name: "f", UID: "1"}, "theirs", "1")
	addModel(t, s, api.FunctionRef{Namespace: "ns", Name: "f", UID: "1"}, "twice", "1") // an equal file
	_, body := send(t, "GET", h.URL+api.RouteCache, "")
	var c api.CacheStatus
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Models) != 1 || len(c.Models[0].Names) != 1 || c.Models[0].Names[0] != (api.ModelName{Name: "twice", Version: "1"}) {
		t.Errorf("models are %+v", c.Models)
	}
	if c.Epoch != s.Epoch() || c.Node != "n1" || len(c.Devices) != 1 || c.Host.Budget != 5000 {
		t.Errorf("status is %+v", c)
	}
}

func TestDeltaLeadsToTheNextSnapshot(t *testing.T) {
	old := newSnapshot(cachemgr.Status{
		Devices: []api.DeviceStatus{{ID: "a"}, {ID: "b"}},
		Models:  map[string]cachemgr.ModelState{"x": {}, "y": {Bytes: 1}, "z": {}},
	}, nil, snapshot{})
	next := newSnapshot(cachemgr.Status{
		Devices: []api.DeviceStatus{{ID: "a"}, {ID: "b", Running: 1}},
		Host:    api.PoolStatus{Used: 1},
		Models:  map[string]cachemgr.ModelState{"x": {}, "y": {Bytes: 2}, "w": {}},
	}, nil, old)
	d, changed := next.delta(old)
	if !changed || len(d.Devices) != 1 || d.Devices[0].ID != "b" || d.Host == nil || fmt.Sprint(d.Gone) != "[z]" ||
		len(d.Models) != 2 || d.Models[0].Digest != "w" || d.Models[1].Bytes != 2 {
		t.Errorf("delta is %+v", d)
	}
	if d, changed := next.delta(next); changed {
		t.Errorf("delta to itself is %+v", d)
	}
	if got := maps.Clone(next.models); len(got) != 3 {
		t.Errorf("models are %v", got)
	}
}

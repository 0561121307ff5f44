// Package attach keeps a function's models known to a cache manager: it offers
// them at the start, and again whenever the cache manager was restarted or has
// forgotten them. Requests wait meanwhile, as long as they may, and are sent
// again only where the last try did not reach a cache manager, or reached one
// that did not know the model. (An inference changes nothing: api.Client itself
// repeats one whose pooled connection was closed.)
package attach

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/watchdog/models"
	"github.com/prometheus/client_golang/prometheus"
)

// How often an offer is repeated that failed: soon at first, for a cache manager
// that restarts.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// Client is what is needed of api.Client.
type Client interface {
	Infer(ctx context.Context, c api.Call, r *oip.Request) (*oip.Response, api.Info, error)
	Offer(ctx context.Context, o api.OfferRequest, open func(api.Offer) (api.File, error)) ([]api.Offered, error)
	ModelReady(ctx context.Context, model, version string) (bool, error)
	Cache(ctx context.Context) (api.CacheStatus, error)
	Epoch() string
}

// Options are what an Attachment is made of.
type Options struct {
	Client Client
	// Models have their digests and are not changed any more.
	Models *models.Folder
	// Preload and Pin say for a model's name whether it is to be resident at once,
	// and always.
	Preload, Pin func(name string) bool
	// Control passes on what loads and unloads models: whoever can invoke the
	// function can then make all others wait for theirs.
	Control bool
	// Wait is the longest time that a request waits for the cache manager.
	Wait     time.Duration
	Log      *slog.Logger
	Registry prometheus.Registerer
}

// ErrUnavailable: the cache manager is away, or has not taken the models yet.
// Nothing was processed.
var ErrUnavailable = errors.New("the models cannot be used now")

// Attachment is a function's tie to its cache manager.
type Attachment struct {
	Options
	offer   api.OfferRequest
	paths   map[string]string // by model and version
	metrics *metrics

	state atomic.Pointer[state] // nil: not attached

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex    // guards what follows
	flight  chan struct{} // not nil: an offer is under way; closed when it is done
	lastErr error         // why it is not done yet
	closed  bool
	told    map[string]string // by model: why it could not serve, as the log says
}

// state is what one offer has led to. It does not change.
type state struct {
	epoch   string
	refused map[string]string // reasons, by model and version
}

// New makes an attachment and begins to offer.
func New(o Options) *Attachment {
	a := &Attachment{Options: o, paths: make(map[string]string), told: make(map[string]string), metrics: newMetrics(o.Registry)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	for _, m := range o.Models.Models {
		offer := m.Offer
		offer.Preload, offer.Pin = o.Preload(offer.Name), o.Pin(offer.Name)
		a.offer.Models = append(a.offer.Models, offer)
		a.paths[key(offer.Name, offer.Version)] = m.Path
	}
	a.begin()
	return a
}

func key(model, version string) string { return model + "/" + version }

// Close stops offering. Requests that wait fail.
func (a *Attachment) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.work.Wait()
}

// attached returns the present state, or waits for one until ctx ends.
func (a *Attachment) attached(ctx context.Context) (*state, error) {
	for {
		if s := a.state.Load(); s != nil {
			return s, nil
		}
		done := a.begin()
		if done == nil {
			return nil, fmt.Errorf("%w: the function ends", ErrUnavailable)
		}
		select {
		case <-done:
		case <-ctx.Done():
			return nil, a.unavailable()
		}
	}
}

// unavailable says why the models are not attached.
func (a *Attachment) unavailable() error {
	a.mu.Lock()
	err := a.lastErr
	a.mu.Unlock()
	if err == nil {
		return fmt.Errorf("%w: they are being offered to the cache manager", ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// lost says that s is no longer true.
func (a *Attachment) lost(s *state, why error) {
	if a.state.CompareAndSwap(s, nil) {
		a.Log.Warn("the models are offered again", "reason", why)
		a.begin()
	}
}

// seen compares the epoch of an answer with the one that the models were offered
// to. After a restart the cache manager still knows them, so nothing waits.
func (a *Attachment) seen(s *state, epoch string) {
	if epoch != "" && epoch != s.epoch {
		a.begin()
	}
}

// begin offers in the background, unless that is under way. The channel is
// closed when it is done; nil after Close.
func (a *Attachment) begin() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	if a.flight == nil {
		a.flight = make(chan struct{})
		a.work.Go(a.offerUntilTaken)
	}
	return a.flight
}

// offerUntilTaken repeats the offer until the cache manager has answered it.
func (a *Attachment) offerUntilTaken() {
	told := ""
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		s, err := a.offerOnce()
		a.metrics.offered(err)
		if a.finish(s, err) {
			return
		}
		if text := err.Error(); text != told {
			told = text
			a.Log.Warn("the models cannot be offered yet", "error", err)
		}
		select {
		case <-time.After(wait):
		case <-a.ctx.Done():
		}
	}
}

// finish ends the flight, if it is over, and lets those who wait go on.
func (a *Attachment) finish(s *state, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastErr = err
	if err != nil && a.ctx.Err() == nil {
		return false
	}
	if err == nil {
		a.state.Store(s)
	}
	close(a.flight)
	a.flight = nil
	return true
}

func (a *Attachment) offerOnce() (*state, error) {
	answers, err := a.Client.Offer(a.ctx, a.offer, func(o api.Offer) (api.File, error) {
		return os.Open(a.paths[key(o.Name, o.Version)])
	})
	if err != nil {
		return nil, err
	}
	s := &state{epoch: a.Client.Epoch(), refused: make(map[string]string)}
	for _, m := range answers {
		if m.Error != "" {
			s.refused[key(m.Name, m.Version)] = m.Error
			a.Log.Error("the cache manager refuses a model", "model", m.Name, "version", m.Version, "reason", m.Error)
		}
	}
	a.Log.Info("models are offered", "models", len(answers), "refused", len(s.refused), "epoch", s.epoch)
	return s, nil
}

// has reports whether the function has a model; version "" is any.
func (a *Attachment) has(model, version string) bool {
	return slices.ContainsFunc(a.offer.Models, func(o api.Offer) bool {
		return o.Name == model && (version == "" || o.Version == version)
	})
}

// refusal is why none of a model's versions, or not the given one, can be used.
func (a *Attachment) refusal(s *state, model, version string) string {
	reason := ""
	for _, o := range a.offer.Models {
		if o.Name != model || version != "" && o.Version != version {
			continue
		}
		r, refused := s.refused[key(o.Name, o.Version)]
		if !refused {
			return ""
		}
		reason = r
	}
	return reason
}

// neverSent reports that a request did not reach a cache manager.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

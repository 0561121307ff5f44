package server

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
	"github.com/faas-gpu/faas-gpu/cachemgr/server/region"
	"github.com/faas-gpu/faas-gpu/cachemgr/store"
)

// Config is what a server is made of. Manager, Store, Auth and Log are needed.
type Config struct {
	Manager Manager
	Store   *store.Store
	Auth    Auth
	Log     *slog.Logger
	Pinner  engine.Pinner // of shared memory; nil: it need not be pinned

	Node     string // the node's name, for people
	Version  string // of this program
	Platform string // of models here, as in Triton's metadata: "onnxruntime_onnx"
	Limits   Limits

	// Metrics are told of beside the server's own, such as those of the machine.
	Metrics []prometheus.Collector
}

// Limits bound what one caller may take. Zero values are the defaults.
type Limits struct {
	Body        int64         // bytes of a request for an inference; 32 MiB
	Output      int64         // bytes of its outputs together; 256 MiB
	InFlight    int64         // bytes of the bodies and outputs of all requests together, of one function half; 2 GiB
	Requests    int           // under way, which functions share; of one function half; 512
	StoreEach   int64         // bytes of the models of one function; no limit
	Shared      int64         // bytes of memory that functions share with this process; 1 GiB
	SharedEach  int64         // bytes of it of one function; 256 MiB
	Run         time.Duration // from its arrival to its answer; 60 s
	BodyTimeout time.Duration // for the first byte of a body, and 1 s more for each MiB; 30 s
	AllowPlans  bool          // accept serialized engines, which are native code
	NoPlans     error         // why none can run here, whether they are accepted or not; nil: they can
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.Body, 32<<20)
	orDefault(&l.Output, 256<<20)
	orDefault(&l.InFlight, 2<<30)
	orDefault(&l.Requests, 512)
	orDefault(&l.StoreEach, math.MaxInt64)
	orDefault(&l.Shared, 1<<30)
	orDefault(&l.SharedEach, 256<<20)
	orDefault(&l.Run, 60*time.Second)
	orDefault(&l.BodyTimeout, 30*time.Second)
	return l
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Server answers the requests of one node. Make one with New, and call Close at
// the end.
type Server struct {
	manager  Manager
	store    *store.Store
	auth     Auth
	log      *slog.Logger
	limits   Limits
	version  string
	platform string

	epoch   []string // as a header's value
	catalog *catalog
	pending *pending
	hub     *hub
	codec   *oip.Codec
	memory  *memory
	regions *region.Pool
	sharing atomic.Pointer[region.Server] // nil: no memory is shared
	mux     *http.ServeMux

	registry *prometheus.Registry
	swaps    *prometheus.HistogramVec

	life    context.Context // of background work and streams; ended: draining
	stop    context.CancelFunc
	tasksMu sync.Mutex // starting a task excludes the start of the wait for them
	tasks   sync.WaitGroup
	loading sync.Map // prefetch -> struct{}, those under way
}

// New makes a server and tells the manager of all models that the store has.
func New(c Config) (*Server, error) {
	if c.Manager == nil || c.Store == nil || c.Auth == nil || c.Log == nil {
		return nil, errors.New("server: Manager, Store, Auth and Log are needed")
	}
	epoch := rand.Text()
	s := &Server{
		manager: c.Manager, store: c.Store, auth: c.Auth, log: c.Log,
		limits: c.Limits.withDefaults(), version: c.Version, platform: c.Platform,
		epoch:   []string{epoch},
		pending: newPending(),
	}
	s.catalog = newCatalog(c.Store, c.Manager, s.limits.acceptable, c.Log)
	s.hub = newHub(c.Node, epoch, c.Manager, s.catalog)
	s.codec = oip.NewCodec(s.limits.Body)
	s.memory = newMemory(s.limits.InFlight, s.limits.Requests)
	s.regions = region.NewPool(region.Config{
		Total: s.limits.Shared, Each: s.limits.SharedEach, Pinner: c.Pinner, Log: c.Log,
	})
	s.life, s.stop = context.WithCancel(context.Background())
	s.routes()
	if err := s.metrics(c.Metrics); err != nil {
		return nil, err
	}
	s.restore()
	return s, nil
}

// Epoch names this run of the cache manager.
func (s *Server) Epoch() string { return s.epoch[0] }

// Drain makes the server not ready and ends the status streams; requests are
// still answered, so that what is under way can finish.
func (s *Server) Drain() {
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	s.stop()
}

func (s *Server) draining() bool { return s.life.Err() != nil }

// Close ends background work and waits for it. The caller has shut down its
// listeners.
func (s *Server) Close() {
	s.Drain()
	s.tasks.Wait()
}

// background runs work that no caller waits for, unless the server drains.
func (s *Server) background(work func(ctx context.Context)) {
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	if !s.draining() {
		s.tasks.Go(func() { work(s.life) })
	}
}

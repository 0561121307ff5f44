package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// gpuSocket measures plans of one network, with different weights, through the
// cache manager's socket: a hit, and requests that all are misses.
func gpuSocket(ctx context.Context, o gpuOptions) (any, error) {
	paths, err := o.planFiles()
	if err != nil {
		return nil, err
	}
	fmt.Printf("probe %s\n", paths[0])
	p, err := probePlan(ctx, o, paths[0])
	if err != nil {
		return nil, err
	}
	io, err := newIOSpec(p.spec)
	if err != nil {
		return nil, err
	}
	figures := o.figures()
	figures["models"], figures["resident_mb"] = len(paths), to2(float64(p.cost.Resident)/1e6)
	figures["input_bytes"], figures["output_bytes"] = io.inputSize, io.outputSize
	s := &socketBench{gpuOptions: o, paths: paths, probe: p, io: io, figures: figures}
	return figures, errors.Join(s.hits(ctx), s.misses(ctx))
}

type socketBench struct {
	gpuOptions
	paths   []string
	probe   probe
	io      ioSpec
	figures map[string]any
}

// node starts a cache manager with room for a number of the models.
func (s *socketBench) node(ctx context.Context, models float64, environ ...string) (*gpuNode, []*gpuModel, error) {
	host := int64(len(s.paths)+1) * (s.probe.cost.Host + 1<<20)
	n, err := startNode(ctx, s.gpuOptions, s.probe.budget(models), append(environ, "host_budget="+strconv.FormatInt(host, 10))...)
	if err != nil {
		return nil, nil, err
	}
	all, err := n.offer(ctx, s.paths)
	if err != nil {
		return nil, nil, errors.Join(n.fail(err), n.close())
	}
	return n, all, nil
}

// hits sends requests for one resident model, each beside an echo of the same
// message by a server that does nothing else.
func (s *socketBench) hits(ctx context.Context) (err error) {
	fmt.Printf("%d hits beside echoes\n", s.requests)
	n, models, err := s.node(ctx, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(n.fail(err), n.close()) }()
	c, err := newCaller(ctx, n, models[0].function, s.io, s.shared)
	if err != nil {
		return err
	}
	defer c.close()
	if _, _, err := c.infer(ctx, models[0].name, s.io); err != nil {
		return err
	}
	socket := filepath.Join(n.dir, "echo")
	_, stop, err := startEcho(ctx, socket)
	if err != nil {
		return err
	}
	defer stop()
	body, header := c.message(s.io)
	url := "http://unix/v2/models/" + models[0].name + "/infer"
	echo := &path{name: "echo", client: dial(socket), url: url, header: header, body: body}
	hit := &path{name: "hit", client: dial(filepath.Join(n.dir, api.SocketOIP)), url: url, header: header, body: body}
	results, err := s.interleave(ctx, echo, hit)
	if err != nil {
		return err
	}
	if s.shared && !bytes.Equal(c.output(s.io), s.probe.output) ||
		!s.shared && !bytes.HasSuffix(hit.answer.Bytes(), s.probe.output) {
		return errors.New("the output differs from that of the plan alone")
	}
	for _, name := range []string{"echo", "hit", "compute", "added"} {
		s.figures[name+"_p50_us"] = to1(p50(results, name))
	}
	x := bootstrap(results, s.seed, func(r []round) float64 { return p50(r, "added") / p50(r, "echo") })
	s.figures["socket_over_echo"], s.figures["socket_over_echo_lo"], s.figures["socket_over_echo_hi"] = to2(x.value), to2(x.lo), to2(x.hi)
	return nil
}

// interleave takes both paths in turn; added is what a hit takes beside the
// engine's own time.
func (s *socketBench) interleave(ctx context.Context, echo, hit *path) ([]round, error) {
	const warmUp = 100
	var results []round
	for i := range warmUp + s.requests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		echoed, _, err := echo.send()
		if err != nil {
			return nil, err
		}
		total, engine, err := hit.send()
		if err != nil {
			return nil, err
		}
		if i >= warmUp {
			results = append(results, round{
				"echo": micros(echoed), "hit": micros(total), "compute": micros(engine), "added": micros(total - engine),
			})
		}
	}
	return results, nil
}

// message is the request that infer makes, and its headers.
func (c *gpuCaller) message(io ioSpec) ([]byte, http.Header) {
	m, err := oip.NewCodec(1<<30).EncodeRequest(c.request(io), true)
	if err != nil {
		panic(err) // the same request was just made
	}
	defer m.Release()
	var body bytes.Buffer
	m.WriteTo(&body) // a Buffer takes everything
	header := http.Header{"Content-Type": {m.ContentType()}, "Authorization": {"Bearer " + c.function.token}}
	if size := m.HeaderSize(); size >= 0 {
		header[oip.HeaderLength] = []string{strconv.FormatInt(size, 10)}
	}
	return body.Bytes(), header
}

// misses sends requests for the models in turn, of which a few find room: each
// request is a miss. The more clients, the more there is to load while one model
// computes.
func (s *socketBench) misses(ctx context.Context) (err error) {
	const room = 2.5
	if len(s.paths) < 5 {
		return fmt.Errorf("%d plans: at least 5 are needed so that each request is a miss", len(s.paths))
	}
	// Other orders would keep some models, and a guess bring one back early.
	n, models, err := s.node(ctx, room, "eviction_policy=lru", "prefetch=false")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(n.fail(err), n.close()) }()
	wants, err := s.references(ctx, n, models)
	if err != nil {
		return err
	}
	type run struct {
		Clients int     `json:"clients"`
		Ms      float64 `json:"ms_per_request"`
		P50     float64 `json:"latency_p50_ms"`
		Misses  float64 `json:"miss_fraction"`
		Wrong   int64   `json:"wrong_outputs"`
	}
	var runs []run
	for _, clients := range []int{1, 2, 3, 4} {
		fmt.Printf("%d misses, %d clients\n", s.requests, clients)
		m := &missRun{socketBench: s, node: n, models: models, wants: wants}
		if err := m.run(ctx, clients); err != nil {
			return err
		}
		perRequest := m.elapsed.Seconds() * 1e3 / float64(s.requests)
		runs = append(runs, run{clients, to4(perRequest), to4(median(m.latencies)), to4(float64(m.swaps.Load()) / float64(s.requests)), m.wrong.Load()})
	}
	s.figures["all_miss"] = runs
	return nil
}

// references are the outputs of the models while they are resident.
func (s *socketBench) references(ctx context.Context, n *gpuNode, models []*gpuModel) ([][]byte, error) {
	c, err := newCaller(ctx, n, models[0].function, s.io, s.shared)
	if err != nil {
		return nil, err
	}
	defer c.close()
	wants := make([][]byte, len(models))
	for i, m := range models {
		if wants[i], err = c.reference(ctx, m.name, s.io); err != nil {
			return nil, err
		}
	}
	return wants, nil
}

// missRun is one run over the models in turn.
type missRun struct {
	*socketBench
	node   *gpuNode
	models []*gpuModel
	wants  [][]byte

	next, swaps, wrong atomic.Int64
	elapsed            time.Duration
	mu                 sync.Mutex
	latencies          []float64 // ms
}

func (m *missRun) run(ctx context.Context, clients int) error {
	var callers []*gpuCaller
	defer func() {
		for _, c := range callers {
			c.close()
		}
	}()
	for range clients {
		c, err := newCaller(ctx, m.node, m.models[0].function, m.io, m.shared)
		if err != nil {
			return err
		}
		callers = append(callers, c)
	}
	began := time.Now()
	work, ctx := errgroup.WithContext(ctx)
	for _, c := range callers {
		work.Go(func() error { return m.client(ctx, c) })
	}
	err := work.Wait()
	m.elapsed = time.Since(began)
	return err
}

func (m *missRun) client(ctx context.Context, c *gpuCaller) error {
	var latencies []float64
	for {
		i := m.next.Add(1) - 1
		if i >= int64(m.requests) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.latencies = append(m.latencies, latencies...)
			return nil
		}
		which := int(i) % len(m.models)
		began := time.Now()
		out, info, err := c.infer(ctx, m.models[which].name, m.io)
		if err != nil {
			return err
		}
		latencies = append(latencies, time.Since(began).Seconds()*1e3)
		if info.Cache != api.CacheHit {
			m.swaps.Add(1)
		}
		if !bytes.Equal(out, m.wants[which]) {
			m.wrong.Add(1)
		}
	}
}

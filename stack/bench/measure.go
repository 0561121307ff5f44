package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// paths are the ways to a subject's answer, all with the same bytes but for the
// last: the handler's path takes and gives the tensor alone.
func (b *nodeBench) paths(s *subject, want []byte) ([]*path, error) {
	token, err := b.lab.Token(s.name)
	if err != nil {
		return nil, err
	}
	body, jsonBytes := s.message()
	binary := http.Header{
		"Content-Type":                    {"application/octet-stream"},
		"Inference-Header-Content-Length": {strconv.Itoa(jsonBytes)},
	}
	withToken := binary.Clone()
	withToken.Set("Authorization", "Bearer "+token)
	infer := "/v2/models/" + s.name + "/infer"
	function := b.lab.URL + "/function/" + s.name + "." + lab.Namespace
	return []*path{
		{name: "uds_echo", client: dial(b.echoUnix), url: "http://unix" + infer, header: withToken, body: body},
		{name: "tcp_echo", client: dial(""), url: "http://" + b.echoTCP + infer, header: binary, body: body},
		{name: "cachemgr", client: dial(b.lab.Socket), url: "http://unix" + infer, header: withToken, body: body, want: want},
		{name: "path", client: dial(""), url: function + infer, header: binary, body: body, want: want},
		{name: "handler", client: dial(""), url: function, body: s.data, want: want},
	}, nil
}

// measure takes the subject's paths in rounds, and then those in shared memory in
// rounds of their own: what runs beside a path is part of what is measured, by the
// caches and the sleeping processors that it leaves. A round has the latencies in
// microseconds under the paths' names, and under NAME_added the latency less what
// the engine took of that same request.
func (b *nodeBench) measure(ctx context.Context, s *subject, rounds int, rng *rand.Rand) ([]round, error) {
	fmt.Printf("measure %s, %d bytes in: %d rounds\n", s.name, len(s.data), rounds)
	session, err := newDirect(b.lab.Runtime, s)
	if err != nil {
		return nil, err
	}
	defer session.close()
	if err := session.run(); err != nil {
		return nil, err
	}
	paths, err := b.paths(s, session.output())
	if err != nil {
		return nil, err
	}
	results, err := measureInTurn(ctx, paths, session, rounds, rng)
	if err != nil {
		return nil, err
	}
	shared, err := newSharing(ctx, b.lab, s)
	if err != nil {
		return nil, err
	}
	defer shared.close()
	if paths, err = shared.paths(b.lab, b.echoUnix, session.output()); err != nil {
		return nil, err
	}
	more, err := measureInTurn(ctx, paths, session, rounds, rng)
	if err != nil {
		return nil, err
	}
	for i, r := range more {
		delete(r, "direct")
		maps.Copy(results[i], r)
	}
	return results, nil
}

// measureInTurn takes a plain session and all paths once a round, these in an order
// drawn anew each time: what runs after what matters.
func measureInTurn(ctx context.Context, paths []*path, session *direct, rounds int, rng *rand.Rand) ([]round, error) {
	const warmUp = 100
	results := make([]round, 0, rounds)
	for i := range warmUp + rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rng.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		r := round{}
		start := time.Now()
		if err := session.run(); err != nil {
			return nil, err
		}
		r["direct"] = micros(time.Since(start))
		for _, p := range paths {
			total, engine, err := p.send()
			if err != nil {
				return nil, err
			}
			r[p.name] = micros(total)
			r[p.name+"_added"] = micros(total - engine)
		}
		if i >= warmUp {
			results = append(results, r)
		}
	}
	return results, nil
}

// report adds a subject's figures.
func report(figures map[string]any, suffix string, results []round, seed uint64) {
	for _, name := range []string{"direct", "uds_echo", "tcp_echo", "cachemgr_added", "path_added", "handler_added", "shared_added", "header_echo"} {
		figures[name+"_p50_us"+suffix] = to1(p50(results, name))
	}
	ratios := map[string]func([]round) float64{
		"socket_over_echo":    func(r []round) float64 { return p50(r, "shared_added") / p50(r, "header_echo") },
		"cachemgr_over_floor": func(r []round) float64 { return p50(r, "cachemgr_added") / p50(r, "uds_echo") },
		"path_over_floor":     func(r []round) float64 { return p50(r, "path_added") / pathFloor(r) },
		"handler_over_floor":  func(r []round) float64 { return p50(r, "handler_added") / pathFloor(r) },
	}
	for name, ratio := range ratios {
		x := bootstrap(results, seed, ratio)
		figures[name+suffix] = to2(x.value)
		figures[name+suffix+"_lo"] = to2(x.lo)
		figures[name+suffix+"_hi"] = to2(x.hi)
	}
	figures["rounds"+suffix] = len(results)
}

// pathFloor is what the hops client -> provider -> watchdog -> cachemgr cost at
// least: two echoes over TCP and one over a Unix socket.
func pathFloor(r []round) float64 { return 2*p50(r, "tcp_echo") + p50(r, "uds_echo") }

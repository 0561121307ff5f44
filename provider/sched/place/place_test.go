package place

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// node has one device with room for everything and model m nowhere.
func node(name string, change func(*Node)) Node {
	n := Node{
		Name: name, Free: 1000, Staged: map[string]bool{}, Stored: map[string]bool{},
		Devices: []Device{{
			ID: "g", Budget: 100, Free: 100, Resident: map[string]bool{},
			Prices: map[string]Price{"m": {Send: 400 * ms, Load: 200 * ms, Swap: 40 * ms, Compute: 10 * ms}},
		}},
	}
	if change != nil {
		change(&n)
	}
	return n
}

func TestChoose(t *testing.T) {
	want := Want{Models: []Model{{Name: "m", Bytes: 50}}}
	staged := func(n *Node) { n.Staged["m"], n.Stored["m"] = true, true }
	resident := func(n *Node) { staged(n); n.Devices[0].Resident["m"] = true }
	for name, c := range map[string]struct {
		want  Want
		nodes []Node
		node  string
		why   string
	}{
		"none":                      {want, nil, "", "there is no node"},
		"equals go by name":         {want, []Node{node("b", nil), node("a", nil)}, "a", "not there yet"},
		"on disk is cheaper":        {want, []Node{node("a", nil), node("b", func(n *Node) { n.Stored["m"] = true })}, "b", "on disk"},
		"staged is cheaper":         {want, []Node{node("a", func(n *Node) { n.Stored["m"] = true }), node("b", staged)}, "b", "m is staged"},
		"resident is the cheapest":  {want, []Node{node("a", staged), node("b", resident)}, "b", "resident on g"},
		"a busy device costs":       {want, []Node{node("a", func(n *Node) { resident(n); n.Devices[0].Wait = 100 * ms }), node("b", staged)}, "b", "staged"},
		"spread before price":       {want, []Node{node("a", func(n *Node) { resident(n); n.Replicas = 1 }), node("b", nil)}, "b", "replicas (0)"},
		"a full device costs":       {want, []Node{node("a", func(n *Node) { staged(n); n.Devices[0].Free = 10 }), node("b", staged)}, "b", "staged"},
		"full host memory costs":    {want, []Node{node("a", func(n *Node) { n.Free = 10 }), node("b", nil)}, "b", "not there yet"},
		"too small is no choice":    {want, []Node{node("a", func(n *Node) { n.Devices[0].Budget = 49 }), node("b", nil)}, "b", ""},
		"constraints are none":      {want, []Node{node("a", func(n *Node) { n.Refuses = "node.labels.zone is x" }), node("b", nil)}, "b", ""},
		"nobody can":                {want, []Node{node("a", func(n *Node) { n.Devices = nil })}, "", "no device there can run m"},
		"nobody may":                {want, []Node{node("a", func(n *Node) { n.Refuses = "node.labels.zone is x" })}, "", "node.labels.zone is x"},
		"no model, no device":       {Want{}, []Node{node("a", func(n *Node) { n.Devices, n.Replicas = nil, 2 }), node("b", func(n *Node) { n.Devices = nil })}, "b", "needs no model"},
		"all models count":          {Want{Models: []Model{{"m", 50}, {"x", 1}}}, []Node{node("a", resident)}, "", "no device there can run x"},
		"the better device decides": {want, []Node{node("a", func(n *Node) { staged(n); n.Devices = append(n.Devices, node("", resident).Devices[0]) }), node("b", staged)}, "a", "resident"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Choose(c.want, c.nodes)
			if got.Node != c.node || !strings.Contains(got.Why, c.why) || len(got.Costs) != len(c.nodes) {
				t.Errorf("got %+v, want %q because of %q", got, c.node, c.why)
			}
		})
	}
}

func TestTolls(t *testing.T) {
	full := node("a", func(n *Node) { n.Free, n.Devices[0].Free = 0, 0 })
	c := Choose(Want{Models: []Model{{"m", 50}}}, []Node{full}).Costs[0]
	if c.Fetch != 640 || c.Answer != 10 || c.Toll != 120 {
		t.Errorf("got %+v", c)
	}
}

// TestNothingBetterIsLeft: whatever the nodes are, the one chosen can take the
// replica, and no other one that can has fewer replicas, or as many and is cheaper;
// the order in which nodes are listed changes nothing.
func TestNothingBetterIsLeft(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 500 {
		var nodes []Node
		for i := range 1 + rng.IntN(6) {
			nodes = append(nodes, node(fmt.Sprint("n", i), func(n *Node) { change(rng, n) }))
		}
		want := Want{Models: []Model{{"m", 1 + rng.Int64N(120)}}}
		got := Choose(want, nodes)
		for _, n := range nodes {
			c := price(want, n)
			if c.Fits && got.Node == "" {
				t.Fatalf("seed %d: %s fits, but none was chosen", seed, n.Name)
			}
			best := got.Costs[0]
			if c.Fits && (c.Replicas < best.Replicas || c.Replicas == best.Replicas && c.total() < best.total()) {
				t.Fatalf("seed %d: %+v is better than %+v", seed, c, best)
			}
		}
		rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		if again := Choose(want, nodes); again.Node != got.Node {
			t.Fatalf("seed %d: %s, and %s in another order", seed, got.Node, again.Node)
		}
	}
}

func change(rng *rand.Rand, n *Node) {
	d := &n.Devices[0]
	n.Replicas, n.Free, d.Free = rng.IntN(3), rng.Int64N(200), rng.Int64N(100)
	d.Wait = time.Duration(rng.IntN(100)) * ms
	n.Stored["m"] = rng.IntN(2) == 0
	n.Staged["m"] = n.Stored["m"] && rng.IntN(2) == 0
	d.Resident["m"] = n.Staged["m"] && rng.IntN(2) == 0
	if rng.IntN(5) == 0 {
		n.Refuses = "no"
	}
}

// Package place decides which node gets a replica, and says why. Like package
// sched it is pure. A node is priced as a device is for a request: by what it takes
// until the function's models are there and computed, and by what others would
// lose; beside that, replicas are spread.
package place

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Want is a replica that needs a node.
type Want struct {
	Models []Model // that its function has
}

// Model is one model of the function.
type Model struct {
	Name  string
	Bytes int64 // on a device, and in host memory
}

// Node is one that could get it.
type Node struct {
	Name string
	// Refuses says which constraint it does not meet, "" if it meets all.
	Refuses  string
	Replicas int   // of the function that it has already, or that are on their way
	Free     int64 // bytes of host memory that no model takes
	Devices  []Device
	Staged   map[string]bool // models in host memory, by name
	Stored   map[string]bool // models on disk, by name; the others have to be sent
}

// Device of a node.
type Device struct {
	ID       string
	Budget   int64            // bytes of models that it can hold
	Free     int64            // bytes that no model takes
	Wait     time.Duration    // until it is done with what it has
	Resident map[string]bool  // models, by name
	Prices   map[string]Price // of models that it can run, by name
}

// Price is what a model costs on a device, with nothing else going on.
type Price struct{ Send, Load, Swap, Compute time.Duration }

// Choice is what was decided.
type Choice struct {
	Node  string `json:"node,omitempty"` // "" for none
	Why   string `json:"why"`
	Costs []Cost `json:"costs"` // of all nodes, the best first
}

// Cost of a node, in milliseconds.
type Cost struct {
	Node     string  `json:"node"`
	Fits     bool    `json:"fits"`
	Replicas int     `json:"replicas"`  // of the function that are there
	Fetch    float64 `json:"fetch_ms"`  // until its models are on a device
	Answer   float64 `json:"answer_ms"` // wait and compute, once they are
	Toll     float64 `json:"toll_ms"`   // what others lose by it
	Why      string  `json:"why"`
}

func (c Cost) total() float64 { return c.Fetch + c.Answer + c.Toll }

// Choose picks the node: of those that can run the models, one with the fewest
// replicas of the function; of these the cheapest; of equals the first by name.
// Spreading comes first because replicas of a node share its devices: a second
// one there makes no request faster.
func Choose(w Want, nodes []Node) Choice {
	c := Choice{Costs: make([]Cost, 0, len(nodes))}
	for _, n := range nodes {
		c.Costs = append(c.Costs, price(w, n))
	}
	slices.SortFunc(c.Costs, func(a, b Cost) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Replicas, b.Replicas),
			cmp.Compare(a.total(), b.total()), strings.Compare(a.Node, b.Node))
	})
	switch {
	case len(nodes) == 0:
		c.Why = "there is no node"
	case !c.Costs[0].Fits:
		c.Why = "no node can take it; " + c.Costs[0].Node + ": " + c.Costs[0].Why
	default:
		best := c.Costs[0]
		c.Node = best.Node
		c.Why = fmt.Sprintf("no node has fewer of the function's replicas (%d), and of those that have as many it is the cheapest: %s", best.Replicas, best.Why)
	}
	return c
}

func rank(c Cost) int {
	if c.Fits {
		return 0
	}
	return 1
}

// price says what it costs to have the replica on n: for each model the cheapest
// device, as if it were the only one.
func price(w Want, n Node) Cost {
	c := Cost{Node: n.Name, Replicas: n.Replicas}
	if n.Refuses != "" {
		c.Why = n.Refuses
		return c
	}
	if len(w.Models) == 0 {
		c.Fits, c.Why = true, "it needs no model"
		return c
	}
	var words []string
	host := n.Free
	for _, m := range w.Models {
		q, ok := cheapest(m, n, host)
		if !ok {
			c.Why = "no device there can run " + m.Name
			return c
		}
		if !n.Staged[m.Name] {
			host -= m.Bytes
		}
		c.Fetch += millis(q.fetch)
		c.Answer += millis(q.answer)
		c.Toll += millis(q.toll)
		words = append(words, fmt.Sprintf("%s is %s", m.Name, q.where))
	}
	c.Fits, c.Why = true, strings.Join(words, ", ")
	return c
}

// quote is what one model costs on one device.
type quote struct {
	fetch, answer, toll time.Duration
	where               string
}

func (q quote) total() time.Duration { return q.fetch + q.answer + q.toll }

func cheapest(m Model, n Node, host int64) (best quote, found bool) {
	for _, d := range n.Devices {
		p, ok := d.Prices[m.Name]
		if !ok || m.Bytes > d.Budget {
			continue
		}
		if q := quoteOf(m, n, d, p, host); !found || q.total() < best.total() {
			best, found = q, true
		}
	}
	return best, found
}

// quoteOf prices m on d. What has to leave for it may have to come back: half of
// what it takes to fetch is charged for that, as for requests, once for the device
// and once for host memory.
func quoteOf(m Model, n Node, d Device, p Price, host int64) quote {
	q := quote{answer: d.Wait + p.Compute}
	switch {
	case d.Resident[m.Name]:
		q.where = "resident on " + d.ID
		return q
	case n.Staged[m.Name]:
		q.fetch, q.where = p.Swap, "staged"
	case n.Stored[m.Name]:
		q.fetch, q.where = p.Load+p.Swap, "on disk"
	default:
		q.fetch, q.where = p.Send+p.Load+p.Swap, "not there yet"
	}
	if m.Bytes > d.Free {
		q.toll += p.Swap / 2
		q.where += ", and something has to leave " + d.ID + " for it"
	}
	if !n.Staged[m.Name] && m.Bytes > host {
		q.toll += p.Load / 2
		q.where += ", and something has to leave host memory for it"
	}
	return q
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

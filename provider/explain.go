package provider

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/function"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/sched"
	"github.com/faas-gpu/faas-gpu/provider/sched/place"
)

// explain answers GET /system/gpu/explain?function=NAME[.NAMESPACE], with
// namespace, model, version and slo as one may want: where a request would go now,
// why, and what the other devices would cost. JSON or text, as /system/gpu.
func (p *Provider) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id := parseName(q.Get("function"))
	if q.Has("namespace") {
		id = runtime.ID{Name: q.Get("function"), Namespace: q.Get("namespace")}
	}
	if err := checkID(id); err != nil {
		p.fail(w, r, err)
		return
	}
	f, ok := p.cfg.Dispatcher.Lookup(id)
	if !ok {
		p.fail(w, r, notFound(id))
		return
	}
	want, err := wanted(f, q)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	e := explanation{Explanation: p.cfg.Dispatcher.Explain(f, want), Placement: p.cfg.Dispatcher.Placement(f)}
	if !wantsTable(r) {
		writeJSON(w, e)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	e.write(w)
}

// explanation answers GET /system/gpu/explain.
type explanation struct {
	sched.Explanation
	// Placement is where another replica of the function should go.
	Placement place.Choice `json:"placement"`
}

// wanted is what the request that is asked about would want.
func wanted(f *dispatch.Function, q url.Values) (dispatch.Want, error) {
	w := dispatch.Want{Model: cmp.Or(q.Get("model"), f.Spec.GPU.Model), Version: q.Get("version"), SLO: f.Spec.GPU.SLO}
	if q.Has("slo") {
		slo, err := function.ParseSLO(q.Get("slo"))
		if err != nil {
			return w, fmt.Errorf("%w: slo: %w", errBadRequest, err)
		}
		w.SLO = slo
	}
	return w, nil
}

// write writes e for people.
func (e explanation) write(out io.Writer) {
	fmt.Fprintf(out, "function  %s\npolicy    %s\n", e.Function, e.Policy)
	if e.Model != "" {
		fmt.Fprintf(out, "model     %s\n", e.Model)
	}
	fmt.Fprintf(out, "waiting   %d\n", e.Queued)
	switch {
	case e.Device != "":
		fmt.Fprintf(out, "goes to   device %s, replica %s\n", e.Device, e.Chosen)
	case e.Chosen != "":
		fmt.Fprintf(out, "goes to   replica %s\n", e.Chosen)
	default:
		fmt.Fprintln(out, "goes to   nowhere yet")
	}
	fmt.Fprintf(out, "because   %s\n", e.Why)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if len(e.Devices) > 0 {
		fmt.Fprintln(w, "\nDEVICE\tMODEL IS\tWAIT\tFETCH\tCOMPUTE\tTOLL\tTOTAL\tWHICH IS")
	}
	for _, d := range e.Devices {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Device, d.Place,
			millis(d.Wait), millis(d.Fetch), millis(d.Compute), millis(d.Toll), millis(d.Total), d.Why)
	}
	fmt.Fprintln(w, "\nREPLICA\tNODE\tSERVES\tAT MOST\tSTATE")
	for _, r := range e.Replicas {
		most := "-"
		if r.Capacity > 0 {
			most = fmt.Sprint(r.Capacity)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", r.Replica, r.Node, r.InFlight, most, r.Why)
	}
	w.Flush()
	fmt.Fprintf(out, "\nanother replica should go to %s: %s\n", cmp.Or(e.Placement.Node, "no node"), e.Placement.Why)
}

func millis(ms float64) string { return fmt.Sprintf("%.1fms", ms) }

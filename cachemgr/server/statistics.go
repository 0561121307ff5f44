package server

import (
	"fmt"
	"net/http"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// statistics answers for one model, for one version of it, or for all of the
// caller's.
func (s *Server) statistics(w http.ResponseWriter, r *http.Request, c Caller) error {
	name, version := r.PathValue("model"), r.PathValue("version")
	out := oip.Statistics{Models: []oip.ModelStatistics{}}
	for _, e := range s.catalog.entriesOf(c.Function) {
		if (name == "" || e.offer.Name == name) && (version == "" || e.offer.Version == version) {
			out.Models = append(out.Models, e.stats.triton(e.offer.Name, e.offer.Version))
		}
	}
	if name != "" && len(out.Models) == 0 {
		return fmt.Errorf("%w %q", cachemgr.ErrUnknownModel, name)
	}
	s.writeJSON(w, http.StatusOK, out)
	return nil
}

// triton is the form of the statistics extension.
func (s *stats) triton(name, version string) oip.ModelStatistics {
	n := s.success.Load()
	of := func(d *duration) oip.Duration { return oip.Duration{Count: n, Ns: d.ns.Load()} }
	return oip.ModelStatistics{
		Name: name, Version: version,
		LastInference:  s.lastUnix.Load(),
		InferenceCount: s.rows.Load(),
		ExecutionCount: s.executions.Load(),
		Inference: oip.InferenceStats{
			Success: of(&s.request), Queue: of(&s.queue),
			ComputeInput: of(&s.input), ComputeInfer: of(&s.compute), ComputeOutput: of(&s.output),
			Fail: oip.Duration{Count: s.failures(), Ns: s.failed.ns.Load()},
		},
		Batches: []oip.BatchStatistics{},
		Memory:  []oip.MemoryUsage{},
	}
}

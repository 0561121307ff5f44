package provider

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/function"
)

// understand finds out what the request wants: of its path and header first, else
// of what its function says.
func (v *invocation) understand() error {
	spec := &v.function.Spec.GPU
	v.want = dispatch.Want{SLO: spec.SLO, Began: v.began}
	v.want.Model, v.want.Version = v.target.model()
	if v.want.Model == "" {
		v.want.Model = spec.Model
	}
	if said := v.r.Header.Get(api.HeaderSLO); said != "" {
		slo, err := function.ParseSLO(said)
		if err != nil {
			return fmt.Errorf("%w: header %s: %w", errBadRequest, api.HeaderSLO, err)
		}
		v.want.SLO = slo
	}
	v.slo = max(0, v.want.SLO)
	return nil
}

// countSLO counts what became of the objective. Every request that was sent counts:
// one that was refused, failed, or whose client left has not met it.
func (v *invocation) countSLO(n *invocations) {
	if v.slo <= 0 || v.status == http.StatusSwitchingProtocols {
		return
	}
	now := time.Now()
	met := v.status < http.StatusBadRequest && now.Sub(v.began) <= v.slo
	n.addSLO(now, outcomeOf(met, v.refused))
}

func outcomeOf(met, refused bool) sloOutcome {
	switch {
	case refused:
		return sloRefused
	case met:
		return sloMet
	}
	return sloMissed
}

// tooLate is the error that says that a request is refused for its objective.
func tooLate(err error) (late *dispatch.TooLateError, ok bool) {
	ok = errors.As(err, &late)
	return late, ok
}

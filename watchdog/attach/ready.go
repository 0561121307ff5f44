package attach

import (
	"context"
	"errors"
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
)

// Ready is nil if every model can serve. The error says which cannot, and why.
func (a *Attachment) Ready(ctx context.Context) error {
	if err := a.Models.Err(); err != nil {
		return err
	}
	s := a.state.Load()
	if s == nil {
		a.begin()
		return a.unavailable()
	}
	for _, name := range a.Models.Names() {
		if err := a.modelReady(ctx, s, name); err != nil {
			return err
		}
	}
	a.seen(s, a.Client.Epoch())
	return nil
}

func (a *Attachment) modelReady(ctx context.Context, s *state, name string) error {
	for _, o := range a.offer.Models {
		if reason := s.refused[key(o.Name, o.Version)]; o.Name == name && reason != "" {
			return fmt.Errorf("model %q version %s was refused: %s", name, o.Version, reason)
		}
	}
	ready, err := a.Client.ModelReady(ctx, name, "")
	switch {
	case err == nil && ready:
		a.tell(name, "")
		return nil
	case err == nil:
		reason := a.reason(ctx, name)
		a.tell(name, reason)
		return fmt.Errorf("model %q cannot serve: %s", name, reason)
	case api.IsUnknownModel(err) || errors.Is(err, api.ErrUnreachable):
		a.lost(s, err)
	}
	return fmt.Errorf("model %q: %w", name, err)
}

// tell logs why a model cannot serve, once for each reason: whoever deployed it
// looks into the function's log, and who asks whether it is ready is a program.
func (a *Attachment) tell(name, reason string) {
	a.mu.Lock()
	again := a.told[name] == reason
	a.told[name] = reason
	a.mu.Unlock()
	if !again && reason != "" && reason != notReadyYet {
		a.Log.Error("a model cannot serve, the function is not ready", "model", name, "reason", reason)
	}
}

// notReadyYet is the reason while the cache manager gives none: as a rule it is
// reading the model.
const notReadyYet = "the cache manager is not ready for it"

// reason asks why a model is not ready: the answer to that alone does not say.
func (a *Attachment) reason(ctx context.Context, name string) string {
	status, err := a.Client.Cache(ctx)
	if err != nil {
		return err.Error()
	}
	for _, m := range status.Models {
		for _, n := range m.Names {
			for _, i := range m.Instances {
				if n.Name == name && i.Reason != "" {
					return fmt.Sprintf("on %s: %s", i.Device, i.Reason)
				}
			}
		}
	}
	return notReadyYet
}

// Status says where the function's models are.
func (a *Attachment) Status(ctx context.Context) (*api.CacheStatus, error) {
	status, err := a.Client.Cache(ctx)
	if err != nil {
		return nil, err
	}
	return &status, nil
}

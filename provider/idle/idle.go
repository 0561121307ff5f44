// Package idle scales functions to zero that ask for it and are not used. Whoever
// invokes one wakes it: that is the work of package dispatch.
package idle

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/dispatch"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Due returns the functions to scale to zero now, the one that has been idle for
// longest first, and when the next one may be due, or one of these again, should it
// be used before it is scaled: zero for not before something changes. A function
// that does not say after what time is due after the one given.
func Due(now time.Time, uses []dispatch.Use, after time.Duration) (due []dispatch.Use, next time.Time) {
	for _, u := range uses {
		if !u.Scale.Zero || u.Replicas == 0 {
			continue
		}
		wait := cmp.Or(u.Scale.ZeroAfter, after)
		at := u.Since.Add(wait)
		if u.Requests > 0 {
			at = now.Add(wait) // if it ends now
		}
		if !at.After(now) {
			due = append(due, u)
			at = now.Add(wait)
		}
		next = earlier(next, at)
	}
	slices.SortFunc(due, func(a, b dispatch.Use) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return due, next
}

// Functions are those that may rest.
type Functions interface {
	Uses() []dispatch.Use
	// Rest scales a function to zero unless it was used after since.
	Rest(ctx context.Context, id runtime.ID, since time.Time) (bool, error)
}

// Config of Run.
type Config struct {
	Functions Functions
	// Runtime tells when functions change.
	Runtime runtime.Observer
	// After is how long functions are idle that do not say it themselves.
	After time.Duration
	Log   *slog.Logger
}

const (
	// scaleTimeout is how long the runtime may take to note one change down.
	scaleTimeout = 10 * time.Second
	// retryAfter a function could not be scaled to zero.
	retryAfter = 10 * time.Second
)

// Run scales functions to zero until ctx ends.
func Run(ctx context.Context, c Config) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		snapshot := c.Runtime.Snapshot()
		due, next := Due(time.Now(), c.Functions.Uses(), c.After)
		for _, u := range due {
			if err := c.rest(ctx, u); err != nil {
				c.Log.Error("function not scaled to zero", "function", u.ID.String(), "error", err)
				next = earlier(next, time.Now().Add(retryAfter))
			}
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-c.Runtime.Changed(snapshot):
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Config) rest(ctx context.Context, u dispatch.Use) error {
	ctx, cancel := context.WithTimeout(ctx, scaleTimeout)
	defer cancel()
	rested, err := c.Functions.Rest(ctx, u.ID, u.Since)
	if rested {
		c.Log.Info("function scaled to zero", "function", u.ID.String(), "idle", time.Since(u.Since).Round(time.Millisecond), "replicas", u.Replicas)
	}
	return err
}

// earlier of two times, of which a may be zero, which is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

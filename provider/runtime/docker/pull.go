package docker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime/reconcile"
)

const (
	// pullTimeout bounds the pull of an image.
	pullTimeout = time.Hour
	// pullInterval is how often the progress of a pull is shown.
	pullInterval = 500 * time.Millisecond
	// pullForgotten is how long after a pull its end is told: whoever waits asks again
	// much sooner, unless its function was deleted.
	pullForgotten = 10 * time.Second
)

// pulls fetches images in the background, each once however many ask for it.
type pulls struct {
	daemon daemon
	tasks  sync.WaitGroup

	mu     sync.Mutex
	images map[string]*pull
}

type pull struct {
	progress string
	ended    time.Time // zero: under way
	err      error
}

func newPulls(d daemon) *pulls { return &pulls{daemon: d, images: map[string]*pull{}} }

// fetch is nil once an image was pulled, a reconcile.Later while that is under
// way, and says once why it failed; the next call tries again. A pull goes on
// until ctx ends.
func (p *pulls) fetch(ctx context.Context, image string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := p.images[image]
	switch {
	case running == nil || running.forgotten():
		running = &pull{progress: "asking the registry"}
		p.images[image] = running
		p.tasks.Go(func() { p.run(ctx, image, running) })
	case !running.ended.IsZero():
		delete(p.images, image)
		return running.err
	}
	return reconcile.Later{
		Why: fmt.Sprintf("pulling image %s: %s", image, running.progress),
		At:  time.Now().Add(pullInterval),
	}
}

func (p *pulls) run(ctx context.Context, image string, own *pull) {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	err := p.daemon.Pull(ctx, image, func(progress string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		own.progress = progress
	})
	if err != nil {
		err = fmt.Errorf("image %s is not here and cannot be pulled: %w", image, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	own.ended, own.err = time.Now(), err
}

// forgotten is whether the pull ended so long ago that nobody waits for it.
func (p *pull) forgotten() bool {
	return !p.ended.IsZero() && time.Since(p.ended) >= pullForgotten
}

// wait returns once no pull is under way.
func (p *pulls) wait() { p.tasks.Wait() }

package process

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// followInterval is how often a reader that follows looks for new lines.
const followInterval = 100 * time.Millisecond

// Logs emits the lines of all replicas, those that ended a while ago too, by
// time.
func (r *Runtime) Logs(ctx context.Context, q logs.Request, emit func(logs.Message) error) error {
	id := runtime.ID{Namespace: q.Namespace, Name: q.Name}
	f := r.function(id)
	if f == nil {
		return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
	}
	m := &logMerge{function: f, query: q, emit: emit}
	defer m.close()
	if err := m.backlog(ctx); err != nil {
		return err
	}
	if !q.Follow {
		return nil
	}
	return m.follow(ctx, r.set.Context())
}

// logMerge reads the logs of a function's replicas for one query.
type logMerge struct {
	function *function
	query    logs.Request
	emit     func(logs.Message) error
	readers  []*logReader
	seen     map[string]bool // instances that have or had a reader
}

func (m *logMerge) close() {
	for _, r := range m.readers {
		r.close()
	}
}

// backlog emits what is there, only the last lines of it if so asked.
func (m *logMerge) backlog(ctx context.Context) error {
	emit := m.emit
	var last []logs.Message
	if tail := m.query.Tail; tail > 0 {
		emit = func(line logs.Message) error {
			if len(last) >= 2*tail {
				last = append(last[:0], last[len(last)-tail:]...)
			}
			last = append(last, line)
			return nil
		}
	}
	m.refresh()
	if err := m.pass(ctx, emit); err != nil {
		return ifNotFollowing(m.query, err, ctx)
	}
	if tail := m.query.Tail; tail > 0 && len(last) > tail {
		last = last[len(last)-tail:]
	}
	for _, line := range last {
		if err := m.emit(line); err != nil {
			return err
		}
	}
	return nil
}

// ifNotFollowing drops the error of a context that ended: for a reader that
// follows it is the ordinary end.
func ifNotFollowing(q logs.Request, err error, ctx context.Context) error {
	if q.Follow && ctx.Err() != nil {
		return nil
	}
	return err
}

// follow emits new lines until ctx or the runtime ends, or the function was
// deleted and all was read.
func (m *logMerge) follow(ctx, runtime context.Context) error {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		deleted := m.function.actor.Want().Deleted
		m.refresh()
		if err := m.pass(ctx, m.emit); err != nil {
			return ifNotFollowing(m.query, err, ctx)
		}
		if deleted && len(m.readers) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-runtime.Done():
			return nil
		case <-tick.C:
		}
	}
}

// refresh notes which replicas have ended and adds those that are new.
func (m *logMerge) refresh() {
	sources := *m.function.logs.Load()
	for _, r := range m.readers {
		i := slices.IndexFunc(sources, func(s logSource) bool { return s.instance == r.source.instance })
		r.source.ended = i < 0 || sources[i].ended
	}
	if m.seen == nil {
		m.seen = map[string]bool{}
	}
	for _, s := range sources {
		if wanted := m.query.Instance == "" || m.query.Instance == s.instance; wanted && !m.seen[s.instance] {
			m.seen[s.instance] = true
			m.readers = append(m.readers, newLogReader(m.function.id, s))
		}
	}
}

// pass emits all complete lines that there are now, by time, and ends the
// readers of replicas that have ended. Without Follow, lines that are not
// complete count too.
func (m *logMerge) pass(ctx context.Context, emit func(logs.Message) error) error {
	heads := make([]*logs.Message, len(m.readers))
	for i := range m.readers {
		if err := m.advance(i, heads); err != nil {
			return err
		}
	}
	for {
		first := -1
		for i, head := range heads {
			if head != nil && (first < 0 || head.Timestamp.Before(heads[first].Timestamp)) {
				first = i
			}
		}
		if first < 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if line := *heads[first]; m.query.Since == nil || !line.Timestamp.Before(*m.query.Since) {
			if err := emit(line); err != nil {
				return err
			}
		}
		if err := m.advance(first, heads); err != nil {
			return err
		}
	}
	m.readers = slices.DeleteFunc(m.readers, func(r *logReader) bool {
		if r.source.ended {
			r.close()
		}
		return r.source.ended
	})
	return nil
}

// advance reads the next line of one replica, nil if there is none.
func (m *logMerge) advance(i int, heads []*logs.Message) error {
	r := m.readers[i]
	line, ok, err := r.next()
	if !ok && err == nil && (r.source.ended || !m.query.Follow) {
		line, ok = r.rest()
	}
	heads[i] = nil
	if ok {
		heads[i] = &line
	}
	return err
}

package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/pkg/stdcopy"
	"github.com/openfaas/faas-provider/logs"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// source is a container whose log can be read.
type source struct {
	id       string
	instance string // the replica
	started  time.Time
}

// read emits the lines of a container. With partial, the last one need not be
// complete. A container that is gone has none.
func (r *Runtime) read(ctx context.Context, s source, q logQuery, partial bool, emit func(line) error) error {
	stream, err := r.daemon.Logs(ctx, s.id, q)
	if errors.Is(err, errNotThere) {
		return nil
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	out, errOut := &lines{emit: emit}, &lines{emit: emit, stderr: true}
	if _, err := stdcopy.StdCopy(out, errOut, stream); err != nil {
		return err
	}
	if !partial {
		return nil
	}
	return errors.Join(out.end(), errOut.end())
}

// lastLine that a container wrote, or the line that says why a Go program ended.
// One on standard error is preferred: Docker does not keep the order between that
// and standard output.
func (r *Runtime) lastLine(ctx context.Context, s source) string {
	const window, most = 100, 300
	last, found := line{}, false
	err := r.read(ctx, s, logQuery{Tail: window}, true, func(l line) error {
		l.text = strings.TrimSpace(l.text)
		if l.text != "" && !found && (l.stderr || !last.stderr) {
			last = l
			found = strings.HasPrefix(l.text, "panic: ") || strings.HasPrefix(l.text, "fatal error: ")
		}
		return nil
	})
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(last.text[:min(len(last.text), most)], "")
}

// Logs emits the lines of all replicas, those that ended a while ago too, by
// time, and what is wrong with the function.
func (r *Runtime) Logs(ctx context.Context, q logs.Request, emit func(logs.Message) error) error {
	id := runtime.ID{Namespace: q.Namespace, Name: q.Name}
	f := r.function(id)
	if f == nil {
		return fmt.Errorf("function %s: %w", id, runtime.ErrNotFound)
	}
	reader := &logReader{function: f, query: q, emit: emit, seen: map[string]time.Time{}}
	err := reader.backlog(ctx)
	if err == nil && q.Follow {
		err = reader.follow(ctx)
	}
	if q.Follow && ctx.Err() != nil {
		return nil // for one that follows, the ordinary end
	}
	return err
}

// logReader reads the logs of a function's replicas for one query.
type logReader struct {
	function *function
	query    logs.Request
	emit     func(logs.Message) error
	seen     map[string]time.Time // by instance: the time of the last line that was read
	problem  string               // that was last emitted
}

// platform is the instance of lines that no replica wrote.
const platform = "gpu-provider"

// emitProblem says why replicas are missing, among others how far an image is
// pulled, each time that changes.
func (l *logReader) emitProblem(snapshot *runtime.Snapshot) error {
	f := snapshot.Functions[l.function.id]
	if f == nil || f.UID != l.function.uid || f.Problem == l.problem || l.query.Instance != "" {
		return nil
	}
	if l.problem = f.Problem; l.problem == "" {
		return nil
	}
	return l.emit(l.message(source{instance: platform}, line{at: time.Now(), text: l.problem}))
}

// wanted are the sources that the query asks for.
func (l *logReader) wanted() []source {
	return slices.DeleteFunc(slices.Clone(*l.function.sources.Load()), func(s source) bool {
		return l.query.Instance != "" && l.query.Instance != s.instance
	})
}

// backlog emits what is there, only the last lines of it if so asked.
func (l *logReader) backlog(ctx context.Context) error {
	q := logQuery{Tail: max(0, l.query.Tail)}
	if l.query.Since != nil {
		q.Since = *l.query.Since
	}
	var all []logs.Message
	for _, s := range l.wanted() {
		// What is not complete yet is for whoever follows.
		err := l.function.rt.read(ctx, s, q, !l.query.Follow, func(found line) error {
			all = append(all, l.message(s, found))
			l.seen[s.instance] = found.at
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(all, func(a, b logs.Message) int { return a.Timestamp.Compare(b.Timestamp) })
	if tail := l.query.Tail; tail > 0 && len(all) > tail {
		all = all[len(all)-tail:]
	}
	for _, m := range all {
		if err := l.emit(m); err != nil {
			return err
		}
	}
	return l.emitProblem(l.function.rt.Snapshot())
}

func (l *logReader) message(s source, found line) logs.Message {
	return logs.Message{
		Name: l.function.id.Name, Namespace: l.function.id.Namespace,
		Instance: s.instance, Timestamp: found.at, Text: found.text,
	}
}

// follow emits new lines until ctx or the runtime ends, or the function was
// deleted and all was read.
func (l *logReader) follow(ctx context.Context) error {
	var streams sync.WaitGroup
	defer streams.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.function.rt.set.Context(), cancel)()

	found := make(chan logs.Message)
	ended := make(chan error)
	open := map[string]bool{}
	running := 0
	for {
		snapshot := l.function.rt.Snapshot()
		if err := l.emitProblem(snapshot); err != nil {
			return err
		}
		for _, s := range l.wanted() {
			if open[s.instance] {
				continue
			}
			open[s.instance] = true
			running++
			streams.Go(func() { l.stream(ctx, s, found, ended) })
		}
		if running == 0 && l.function.actor.Want().Deleted {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.function.rt.Changed(snapshot):
		case err := <-ended:
			running--
			if err != nil {
				return err
			}
		case m := <-found:
			if err := l.emit(m); err != nil {
				return err
			}
		}
	}
}

// stream hands over the lines of one container that the backlog has not, until
// the container has ended.
func (l *logReader) stream(ctx context.Context, s source, found chan<- logs.Message, ended chan<- error) {
	q := logQuery{Follow: true}
	if last, ok := l.seen[s.instance]; ok {
		q.Since = last.Add(1)
	} else if l.query.Since != nil {
		q.Since = *l.query.Since
	}
	err := l.function.rt.read(ctx, s, q, true, func(line line) error {
		select {
		case found <- l.message(s, line):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	select {
	case ended <- err:
	case <-ctx.Done():
	}
}

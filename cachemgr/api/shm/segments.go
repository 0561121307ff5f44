package shm

import (
	"context"
	"log/slog"
	"math/bits"
	"sync"
	"time"
)

// Segments have sizes of powers of two, from this one on: 256 KiB.
const minSegmentBits = 18

// How long nothing is tried after shared memory could not be had.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// segment is memory with its region, for the tensors of one request at a time.
type segment struct {
	*Memory
	conn   *Conn
	region string
	since  time.Time // it is idle
}

// segments are kept for reuse: it costs a system call a page, and an exchange, to
// make one.
type segments struct {
	socket string
	token  func() string
	limit  int64         // bytes of all together
	keep   time.Duration // how long one that is idle is kept
	log    *slog.Logger

	growing sync.Mutex // one is being made; never waited for

	mu      sync.Mutex
	conn    *Conn
	idle    map[int][]*segment // by size, those used last at the end; all of conn
	trimmer *time.Timer        // nil: nothing is idle
	bytes   int64              // of all segments, also those in use
	retryAt time.Time
	wait    time.Duration // after the next failure
	told    string        // why there is none, by kind, as the log says
	closed  bool
	work    sync.WaitGroup
}

// get is a segment of at least size bytes, for a cache manager of this epoch. nil:
// there is none now, and the request is better sent without than kept waiting.
func (s *segments) get(ctx context.Context, size int64, epoch string) *segment {
	class := 1 << max(bits.Len64(uint64(size-1)), minSegmentBits)
	if g := s.take(class, epoch); g != nil {
		return g
	}
	if !s.growing.TryLock() {
		return nil
	}
	defer s.growing.Unlock()
	if !s.reserve(int64(class)) {
		return nil
	}
	g, err := s.make(ctx, class)
	if err != nil {
		s.failed(ctx, int64(class), err)
		return nil
	}
	return g
}

// take is one that is idle. An epoch other than the connection's says that its
// cache manager has ended, and the regions with it.
func (s *segments) take(class int, epoch string) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && epoch != "" && epoch != s.conn.Epoch() {
		s.disconnect()
	}
	list := s.idle[class]
	if len(list) == 0 {
		return nil
	}
	g := list[len(list)-1]
	s.idle[class] = list[:len(list)-1]
	return g
}

// reserve sets bytes aside for one more, if it is time to try.
func (s *segments) reserve(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || n > s.limit || time.Now().Before(s.retryAt) {
		return false
	}
	for class, list := range s.idle { // of sizes that are not asked for
		for s.bytes+n > s.limit && len(list) > 0 {
			s.retire(list[0])
			list = list[1:]
		}
		s.idle[class] = list
	}
	if s.bytes+n > s.limit {
		return false
	}
	s.bytes += n
	return true
}

// make makes one. The caller holds growing.
func (s *segments) make(ctx context.Context, size int) (*segment, error) {
	m, err := New(int64(size))
	if err != nil {
		return nil, err
	}
	conn, region, err := s.register(ctx, m)
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	s.mu.Lock()
	s.wait = 0
	s.mu.Unlock()
	return &segment{Memory: m, conn: conn, region: region}, nil
}

// put gives a segment back that nobody uses any more.
func (s *segments) put(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.conn != s.conn {
		s.discard(g)
		return
	}
	g.since = time.Now()
	s.idle[len(g.Data)] = append(s.idle[len(g.Data)], g)
	if s.trimmer == nil {
		s.trimmer = time.AfterFunc(s.keep, s.trim)
	}
}

// trim gives back what has not been used for a while: it is the function's memory.
func (s *segments) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trimmer = nil
	now, first := time.Now(), time.Time{}
	for class, list := range s.idle {
		for len(list) > 0 && now.Sub(list[0].since) >= s.keep {
			s.retire(list[0])
			list = list[1:]
		}
		if s.idle[class] = list; len(list) == 0 {
			delete(s.idle, class)
		} else if first.IsZero() || list[0].since.Before(first) {
			first = list[0].since
		}
	}
	if !first.IsZero() {
		s.trimmer = time.AfterFunc(first.Add(s.keep).Sub(now), s.trim)
	}
}

// abandon gives a segment up that the cache manager may still use, for a request
// that was not waited for.
func (s *segments) abandon(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.conn == s.conn {
		s.retire(g)
	} else {
		s.discard(g)
	}
}

// retire gives a segment of the connection back on both sides. s.mu is held.
func (s *segments) retire(g *segment) {
	// An error is the end of the connection, and the region's with it.
	s.work.Go(func() { _ = g.conn.Unregister(g.region) })
	s.discard(g)
}

// lost gives a segment up that the cache manager does not know: it has ended since,
// and this is the next one.
func (s *segments) lost(g *segment) {
	s.ended(g.conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discard(g)
}

// discard gives memory back. s.mu is held.
func (s *segments) discard(g *segment) {
	s.bytes -= int64(len(g.Data))
	if err := g.Close(); err != nil {
		s.log.Error("shared memory not unmapped", "bytes", len(g.Data), "error", err)
	}
}

// close drops everything; segments that are in use are dropped when they come back.
func (s *segments) close() {
	s.mu.Lock()
	s.closed = true
	s.disconnect()
	if s.trimmer != nil {
		s.trimmer.Stop()
	}
	s.mu.Unlock()
	s.work.Wait() // nothing is added any more: there is no connection
}

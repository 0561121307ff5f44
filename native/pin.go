package native

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"unsafe"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// pins are the pieces of host memory that callers have pinned.
type pins struct {
	shim *shim
	log  *slog.Logger

	mu     sync.Mutex
	begins map[unsafe.Pointer]struct{}
	closed bool
}

var _ engine.Pinner = (*Engine)(nil)

var errEngineClosed = errors.New("the engine is closed")

// Pin makes tensors that lie in b go to and from the devices without a copy on the
// host. It takes about a millisecond a MiB, so it is for memory that stays.
func (e *Engine) Pin(b []byte) (unpin func(), err error) {
	if err := e.pins.add(b); err != nil {
		return nil, fmt.Errorf("pin %d bytes: %w", len(b), err)
	}
	return sync.OnceFunc(func() { e.pins.remove(unsafe.Pointer(unsafe.SliceData(b))) }), nil
}

func (p *pins) add(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errEngineClosed
	}
	begin := unsafe.Pointer(unsafe.SliceData(b))
	if err := p.shim.pin(begin, len(b)); err != nil {
		return err
	}
	p.begins[begin] = struct{}{}
	return nil
}

func (p *pins) remove(begin unsafe.Pointer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.begins[begin]; !ok {
		return // close was first
	}
	delete(p.begins, begin)
	if err := p.shim.unpin(begin); err != nil {
		p.log.Warn("unpin host memory", "err", err)
	}
}

func (p *pins) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for begin := range p.begins {
		delete(p.begins, begin)
		if err := p.shim.unpin(begin); err != nil {
			p.log.Warn("unpin host memory", "err", err)
		}
	}
}

package process

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// ports gives each replica ports of its own.
type ports struct {
	host        string
	first, last int // 0: any that the system gives

	mu   sync.Mutex
	used map[int]bool
}

// take returns a port that was free a moment ago and that no other replica has.
// A program from outside may still be faster than the replica, which then ends
// and is started again with another.
func (p *ports) take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first > 0 {
		for port := p.first; port <= p.last; port++ {
			if p.used[port] {
				continue
			}
			if _, err := p.probe(port); err == nil {
				p.used[port] = true
				return port, nil
			} else if !errors.Is(err, syscall.EADDRINUSE) {
				return 0, err
			}
		}
		return 0, fmt.Errorf("no port from %d to %d is free", p.first, p.last)
	}
	for range 100 {
		port, err := p.probe(0)
		if err != nil {
			return 0, err
		}
		if !p.used[port] {
			p.used[port] = true
			return port, nil
		}
	}
	return 0, errors.New("the system has no free port")
}

// probe listens on a port (0: any) for a moment and returns which.
func (p *ports) probe(port int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(p.host, strconv.Itoa(port)))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (p *ports) keep(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[port] = true
}

func (p *ports) give(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, port)
}

package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// RSS is the resident memory of the process and its children in bytes. What they
// share, as processes of one program share its code, counts once: as much as the one
// has that shares most.
func (p *Process) RSS() (int64, error) {
	pids, err := p.children()
	if err != nil {
		return 0, err
	}
	var own, shared int64
	for _, pid := range append(pids, p.PID()) {
		m, err := resident(pid)
		if err != nil {
			return 0, err
		}
		own += m.own
		shared = max(shared, m.shared)
	}
	return own + shared, nil
}

// RSS is the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	m, err := resident(pid)
	return m.own + m.shared, err
}

// memory is what a process has resident, in bytes: pages that it alone has, and
// pages that others have, too.
type memory struct{ own, shared int64 }

// resident reads the memory of a process; one that has ended has none, which is an
// error.
func resident(pid int) (memory, error) {
	file := "/proc/" + strconv.Itoa(pid) + "/smaps_rollup"
	text, err := os.ReadFile(file)
	if err != nil {
		return memory{}, err
	}
	var m memory
	fields := map[string]*int64{
		"Private_Clean": &m.own, "Private_Dirty": &m.own, "Shared_Clean": &m.shared, "Shared_Dirty": &m.shared,
	}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(string(line), ":")
		sum := fields[name]
		if sum == nil {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("%s: %q: %w", file, line, err)
		}
		*sum += kb << 10
	}
	return m, nil
}

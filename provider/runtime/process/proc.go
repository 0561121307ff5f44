package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stat is what /proc/PID/stat says of a process.
type stat struct {
	session int
	ticks   uint64 // of processor time, 100 to the second
	birth   uint64 // in ticks since the machine was started
	pages   int64  // in memory
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(data))
}

// parseStat reads the fields after the process's name, which stands in
// parentheses and may hold any character.
func parseStat(line string) (stat, error) {
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 22 || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("%q is not the status of a process", line)
	}
	var errs []error
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		errs = append(errs, err)
		return n
	}
	s := stat{
		session: int(number(3)),
		ticks:   uint64(number(11) + number(12)),
		birth:   uint64(number(19)),
		pages:   number(21),
	}
	return s, errors.Join(errs...)
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// pids of all processes.
func pids() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// marker is the variable that every process of a replica has in its environment.
const marker = "FAAS_GPU_REPLICA"

func marked(pid int, replica string) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if string(variable) == marker+"="+replica {
			return true
		}
	}
	return false
}

// killMarked ends every process of a replica at once: those that its watchdog
// started too, whatever group they are in.
func killMarked(replica string) {
	// Each round ends what the processes of the round before may have started.
	for range 10 {
		found := false
		for _, pid := range pids() {
			if marked(pid, replica) && killIfMarked(pid, replica) {
				found = true
			}
		}
		if !found {
			return
		}
	}
}

// killIfMarked looks again once it has hold of the process: until then, pid may
// have become another one.
func killIfMarked(pid int, replica string) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return marked(pid, replica) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

package onnxrt

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mapMemory returns n bytes from the system, zero and not yet there: a page
// takes memory once it is written.
func mapMemory(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// unmap gives back what mapMemory returned.
func unmap(memory []byte) error { return unix.Munmap(memory) }

// hostMemory is what the system has, and what it would still give, in bytes: the
// smaller of the machine's and the control group's. root is "/".
func hostMemory(root fs.FS) (total, free int64, err error) {
	total, free, err = machineMemory(root)
	if err != nil {
		return 0, 0, err
	}
	if limit, left, ok := groupMemory(root); ok && limit < total {
		total, free = limit, min(free, left)
	}
	return total, free, nil
}

func machineMemory(root fs.FS) (total, free int64, err error) {
	f, err := root.Open("proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	total, free = -1, -1
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var n int64
		switch words := strings.Fields(lines.Text()); {
		case len(words) < 2:
		case words[0] == "MemTotal:":
			if n, err = strconv.ParseInt(words[1], 10, 64); err == nil {
				total = n << 10
			}
		case words[0] == "MemAvailable:":
			if n, err = strconv.ParseInt(words[1], 10, 64); err == nil {
				free = n << 10
			}
		}
	}
	if total < 0 || free < 0 {
		return 0, 0, errors.New("/proc/meminfo does not state MemTotal and MemAvailable")
	}
	return total, free, nil
}

// groupMemory is the tightest limit of the process's control group and those
// above it, and the least that is left in one of them. What the system keeps of
// files does not count as used: it goes as soon as somebody needs the memory.
func groupMemory(root fs.FS) (limit, left int64, ok bool) {
	own, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(own)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, limitFile, usedFile, total := "sys/fs/cgroup", "memory.max", "memory.current", ""
		switch {
		case parts[0] == "0" && parts[1] == "":
		case hasWord(parts[1], "memory"):
			base, limitFile, usedFile, total = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
		default:
			continue
		}
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			folder := path.Join(base, group)
			l, lerr := readNumber(root, path.Join(folder, limitFile))
			u, uerr := readNumber(root, path.Join(folder, usedFile))
			if lerr == nil && uerr == nil {
				free := max(l-max(u-filePages(root, path.Join(folder, "memory.stat"), total), 0), 0)
				if !ok {
					limit, left, ok = l, free, true
				}
				limit, left = min(limit, l), min(left, free)
			}
			if group == "/" {
				break
			}
		}
	}
	return limit, left, ok
}

// filePages is what a group's memory holds of files, in bytes, 0 if it does not
// say. prefix is that of the numbers that include the groups below it.
func filePages(root fs.FS, name, prefix string) (n int64) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key != prefix+"inactive_file" && key != prefix+"active_file" {
			continue
		}
		if bytes, err := strconv.ParseInt(value, 10, 64); err == nil {
			n += bytes
		}
	}
	return n
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// readNumber fails for "max", which is no limit.
func readNumber(root fs.FS, name string) (int64, error) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

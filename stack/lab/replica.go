package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PIDs are the processes of a function's replicas.
func (l *Lab) PIDs(name string) ([]int, error) {
	pids, err := l.pids(func(function string) bool { return function == name })
	if err == nil && len(pids) == 0 {
		err = fmt.Errorf("%s has no process", name)
	}
	return pids, err
}

// pids are the processes of the functions picked by their names.
func (l *Lab) pids(pick func(function string) bool) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		environ := readEnviron(file)
		if pick(environ["OPENFAAS_NAME"]) && strings.HasPrefix(environ["secret_mount_path"], l.Dir+"/") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// awaitEnd waits until no replica of any function runs.
func (l *Lab) awaitEnd(ctx context.Context) error {
	return Poll(ctx, func() error {
		pids, err := l.pids(func(string) bool { return true })
		if err == nil && len(pids) > 0 {
			err = fmt.Errorf("processes %v of functions that were removed still run", pids)
		}
		return err
	})
}

// Token is what a function shows to the cache manager.
func (l *Lab) Token(name string) (string, error) {
	pids, err := l.PIDs(name)
	if err != nil {
		return "", err
	}
	environ := readEnviron(fmt.Sprintf("/proc/%d/environ", pids[0]))
	token, err := os.ReadFile(filepath.Join(environ["secret_mount_path"], "faas-gpu-token"))
	return string(bytes.TrimSpace(token)), err
}

// ReplicaMetrics is where a function's replica tells Prometheus of itself.
func (l *Lab) ReplicaMetrics(name string) (url string, err error) {
	pids, err := l.PIDs(name)
	if err != nil {
		return "", err
	}
	environ := readEnviron(fmt.Sprintf("/proc/%d/environ", pids[0]))
	return "http://127.0.0.1:" + environ["metrics_port"] + "/metrics", nil
}

// readEnviron is the environment of a process; it is empty if the process has
// gone meanwhile.
func readEnviron(file string) map[string]string {
	environ := map[string]string{}
	data, _ := os.ReadFile(file)
	for kv := range bytes.SplitSeq(data, []byte{0}) {
		if name, value, ok := strings.Cut(string(kv), "="); ok {
			environ[name] = value
		}
	}
	return environ
}

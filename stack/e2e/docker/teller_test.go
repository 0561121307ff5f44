package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// teller is the function of testdata/teller with the secret "word".
func teller(t *testing.T, l *lab.Lab) {
	system(t, l, http.MethodPost, "/system/secrets", types.Secret{Name: "word", Namespace: lab.Namespace, Value: "first"})
	c := newCLI(t, l, l.URL)
	c.up(l, "go-trt", "teller", "testdata/teller")
}

func tellerDeployment(revision string) types.FunctionDeployment {
	return types.FunctionDeployment{
		Service: "teller", Image: "teller:latest", Namespace: lab.Namespace, Secrets: []string{"word"},
		EnvVars: map[string]string{"revision": revision},
	}
}

func system(t *testing.T, l *lab.Lab, method, path string, in any) {
	t.Helper()
	if err := l.System(t.Context(), method, path, in, nil); err != nil {
		t.Fatal(err)
	}
}

// secret updates a secret and returns how long after the function was deployed
// again it is there for all requests.
func secret(t *testing.T, l *lab.Lab) time.Duration {
	system(t, l, http.MethodPut, "/system/functions", tellerDeployment("1"))
	told := func(ctx context.Context, want string) error {
		a, err := l.Invoke(ctx, "teller", "/secret", nil)
		switch {
		case err != nil:
			return err
		case a.Status != http.StatusOK && a.Status != http.StatusInternalServerError: // the first has no secret
			return lab.Final(fmt.Errorf("status %d: %s", a.Status, a.Body))
		case string(a.Body) != want:
			return fmt.Errorf("the secret is %q, want %q", a.Body, want)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := lab.Poll(ctx, func() error { return told(ctx, "first") }); err != nil {
		t.Fatal(err)
	}
	system(t, l, http.MethodPut, "/system/secrets", types.Secret{Name: "word", Namespace: lab.Namespace, Value: "second"})
	if err := told(ctx, "first"); err != nil {
		t.Errorf("before it is deployed again: %v", err)
	}
	began := time.Now()
	system(t, l, http.MethodPut, "/system/functions", tellerDeployment("2"))
	if err := lab.Poll(ctx, func() error { return told(ctx, "second") }); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if took > 5*time.Second {
		t.Errorf("the new value was there %v after deploying again", took)
	}
	return took
}

// logLines wants all that two replicas wrote, in order, through the API.
func logLines(t *testing.T, l *lab.Lab) {
	const calls, lines = 20, 50
	scaleTeller(t, l, 2)
	for range calls {
		a, err := l.Invoke(t.Context(), "teller", fmt.Sprintf("/log?n=%d", lines), nil)
		if err != nil || a.Status != http.StatusOK {
			t.Fatalf("%v, %v", a, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := lab.Poll(ctx, func() error {
		byReplica, err := readLogs(ctx, l, "teller")
		if err != nil {
			return err
		}
		found := 0
		for replica, texts := range byReplica {
			next := 0
			for _, text := range texts {
				if !strings.Contains(text, "line ") {
					continue // of the watchdog's own
				}
				if !strings.HasSuffix(text, fmt.Sprintf("line %d", next)) {
					return lab.Final(fmt.Errorf("%s wrote %q, want line %d", replica, text, next))
				}
				next = (next + 1) % lines
				found++
			}
		}
		if found != calls*lines {
			return fmt.Errorf("%d lines of %d", found, calls*lines)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// readLogs are the lines of each replica.
func readLogs(ctx context.Context, l *lab.Lab, name string) (map[string][]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL+"/system/logs?follow=false&name="+name, nil)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(l.User, l.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	texts := map[string][]string{}
	for lines := json.NewDecoder(resp.Body); lines.More(); {
		var m logs.Message
		if err := lines.Decode(&m); err != nil {
			return nil, err
		}
		texts[m.Instance] = append(texts[m.Instance], strings.TrimRight(m.Text, "\n"))
	}
	return texts, nil
}

func scaleTeller(t *testing.T, l *lab.Lab, n uint64) {
	t.Helper()
	system(t, l, http.MethodPost, "/system/scale-function/teller", types.ScaleServiceRequest{ServiceName: "teller", Namespace: lab.Namespace, Replicas: n})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := lab.Poll(ctx, func() error {
		var s types.FunctionStatus
		err := l.System(ctx, http.MethodGet, "/system/function/teller", nil, &s)
		if err == nil && s.AvailableReplicas != n {
			err = fmt.Errorf("%d replicas are ready, want %d", s.AvailableReplicas, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killInFlight kills one of two replicas that both have requests: each of those in
// the one gets a 502, those in the other their answers.
func killInFlight(t *testing.T, l *lab.Lab) (inFlight, other int) {
	const each = 4
	scaleTeller(t, l, 2)
	running, err := containers(t.Context(), "--filter", "label=com.faas-gpu.function=teller")
	if err != nil || len(running) != 2 {
		t.Fatalf("%q run, %v", running, err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	failed := map[string]int{}
	for range 2 * each {
		all.Go(func() {
			a, err := l.Invoke(t.Context(), "teller", "/wait?n=2000", nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed[err.Error()]++
			case a.Status == http.StatusBadGateway && len(a.Body) > 0:
				inFlight++
			case a.Status != http.StatusOK || string(a.Body) != "waited":
				failed[fmt.Sprintf("status %d: %s", a.Status, a.Body)]++
			}
		})
	}
	time.Sleep(500 * time.Millisecond) // all have arrived; they take two seconds
	if _, err := docker(t.Context(), "kill", "--signal", "KILL", running[0]); err != nil {
		t.Error(err)
	}
	all.Wait()
	for reason, n := range failed {
		t.Errorf("%d failed: %s", n, reason)
		other += n
	}
	if inFlight != each {
		t.Errorf("%d of %d requests got a 502, %d were in the replica that was killed", inFlight, 2*each, each)
	}
	if err := l.Ready(t.Context(), "teller"); err != nil {
		t.Error(errors.Join(errors.New("after a replica was killed"), err))
	}
	return inFlight, other
}

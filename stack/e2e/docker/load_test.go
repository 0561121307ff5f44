package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/digits"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// rate is requests a second.
const rate = 50

func scans(t *testing.T) []digits.Scan {
	t.Helper()
	all, err := digits.HeldOut()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// digitsFunction is the function digits and what it should answer.
type digitsFunction struct {
	lab     *lab.Lab
	bodies  [][]byte
	answers [][]byte

	mu              sync.Mutex
	requests, wrong int
}

// learn asks for all scans once. Nearly all must be right: that is the model's
// accuracy.
func (d *digitsFunction) learn(t *testing.T) {
	right := 0
	for _, scan := range scans(t) {
		body, err := json.Marshal(scan.Pixels)
		if err != nil {
			t.Fatal(err)
		}
		a, err := d.lab.Invoke(t.Context(), "digits", "", body)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Class int `json:"class"`
		}
		if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != http.StatusOK {
			t.Fatalf("digits answered %d: %s", a.Status, a.Body)
		}
		if got.Class == scan.Digit {
			right++
		}
		d.bodies, d.answers = append(d.bodies, body), append(d.answers, a.Body)
	}
	if accuracy := float64(right) / float64(len(d.bodies)); accuracy < 0.95 {
		t.Errorf("%.3f of the scans are recognised", accuracy)
	}
}

// ask sends one scan; status 0 stands for no answer.
func (d *digitsFunction) ask(ctx context.Context, name string, i int) (status int, right bool) {
	i %= len(d.bodies)
	a, err := d.lab.Invoke(ctx, name, "", d.bodies[i])
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	if err != nil {
		return 0, false
	}
	right = bytes.Equal(a.Body, d.answers[i])
	if a.Status == http.StatusOK && !right {
		d.wrong++
	}
	return a.Status, right
}

// during sends requests at the rate, whether answers come or not, for as long as
// do runs and a second more. It counts the answers that are not right by status.
func (d *digitsFunction) during(t *testing.T, do func()) map[int]int {
	t.Helper()
	failed := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			all.Go(func() {
				if status, right := d.ask(t.Context(), "digits", i); !right {
					mu.Lock()
					defer mu.Unlock()
					failed[status]++
				}
			})
		}
	}()
	do()
	time.AfterFunc(time.Second, func() { close(stop) })
	<-stopped
	all.Wait()
	return failed
}

// deployment is the one that faas-cli made, with a variable.
func (d *digitsFunction) deployment(env map[string]string) types.FunctionDeployment {
	return types.FunctionDeployment{
		Service: "digits", Image: "digits:latest", Namespace: lab.Namespace, EnvVars: env,
		Labels: &map[string]string{}, Annotations: &map[string]string{},
	}
}

func (d *digitsFunction) system(t *testing.T, method, path string, in any) {
	t.Helper()
	if err := d.lab.System(t.Context(), method, path, in, nil); err != nil {
		t.Fatal(err)
	}
}

func (d *digitsFunction) scaleTo(t *testing.T, n uint64) {
	t.Helper()
	d.system(t, http.MethodPost, "/system/scale-function/digits", types.ScaleServiceRequest{ServiceName: "digits", Namespace: lab.Namespace, Replicas: n})
}

// settled waits until exactly n containers of a revision run, are ready, and no
// others.
func (d *digitsFunction) settled(t *testing.T, n int, revision string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running []string
	err := lab.Poll(ctx, func() error {
		var err error
		if running, err = containers(ctx, "--filter", "label=com.faas-gpu.function=digits"); err != nil {
			return err
		}
		var s types.FunctionStatus
		if err := d.lab.System(ctx, http.MethodGet, "/system/function/digits?namespace="+lab.Namespace, nil, &s); err != nil {
			return err
		}
		for _, name := range running {
			if !strings.HasPrefix(name, "digits.openfaas-fn."+revision+"-") {
				return fmt.Errorf("%s runs", name)
			}
		}
		if len(running) != n || s.AvailableReplicas != uint64(n) {
			return fmt.Errorf("%q run, %d are ready; want %d", running, s.AvailableReplicas, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return running
}

func sum(failed map[int]int) (n int) {
	for _, count := range failed {
		n += count
	}
	return n
}

func update(t *testing.T, d *digitsFunction) int {
	d.scaleTo(t, 2)
	d.settled(t, 2, "1")
	failed := d.during(t, func() {
		d.system(t, http.MethodPut, "/system/functions", d.deployment(map[string]string{"revision": "2"}))
		d.settled(t, 2, "2")
	})
	if sum(failed) > 0 {
		t.Errorf("failed during an update, by status: %v", failed)
	}
	return sum(failed)
}

func scale(t *testing.T, d *digitsFunction) int {
	d.scaleTo(t, 3)
	d.settled(t, 3, "2")
	failed := d.during(t, func() {
		d.scaleTo(t, 1)
		d.settled(t, 1, "2")
	})
	if sum(failed) > 0 {
		t.Errorf("failed during a scale from 3 to 1, by status: %v", failed)
	}
	return sum(failed)
}

// restart restarts the provider, which hands its listening socket over.
func restart(t *testing.T, d *digitsFunction) int {
	before := d.settled(t, 1, "2")
	failed := d.during(t, func() {
		if err := d.lab.Provider.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := lab.Poll(ctx, func() error {
			if !bytes.Contains(d.lab.Provider.Tail(), []byte(`"restarted: `)) {
				return errors.New("the provider has not restarted")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if after := d.settled(t, 1, "2"); !slices.Equal(before, after) {
			t.Errorf("containers were %q, are %q", before, after)
		}
	})
	if sum(failed) > 0 {
		t.Errorf("failed during a restart of the provider, by status: %v", failed)
	}
	return sum(failed)
}

// kill kills one of two replicas. Requests in flight in it may fail, with 502.
func kill(t *testing.T, d *digitsFunction) (inFlight, other int) {
	d.scaleTo(t, 2)
	victim := d.settled(t, 2, "2")[0]
	failed := d.during(t, func() {
		if _, err := docker(t.Context(), "kill", "--signal", "KILL", victim); err != nil {
			t.Error(err)
		}
		d.settled(t, 2, "2")
	})
	inFlight = failed[http.StatusBadGateway]
	other = sum(failed) - inFlight
	if other > 0 || inFlight > rate/10 {
		t.Errorf("failed after a replica was killed, by status: %v", failed)
	}
	return inFlight, other
}

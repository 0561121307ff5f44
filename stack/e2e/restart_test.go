package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// TestRestart restarts the provider twice, under load, while an answer is on its
// way and functions are changed. Nothing fails.
func TestRestart(t *testing.T) {
	l := start(t, lab.Options{})
	model := generate(t, modelgen.Spec{Family: modelgen.Scale, Seed: 3})
	deployRaw(t, l, "scale", model, raw("input", "output", "1,4"))
	build(t, l, "streams", "go-trt", "stack/e2e/testdata/streams", nil)
	deploy(t, l, types.FunctionDeployment{Service: "streams", Image: "streams"})
	in := floats(1, 2, 3, 4)
	want := invoke(t, l, "scale", "", in)
	before := pids(t, l, "scale")

	events := openStream(t, l)
	events.answer(t, "before")
	ld := startLoad(t, l, "scale", in, want.Body)
	ld.await(t, 50)
	for i := range 2 {
		must(t, l.Provider.Signal(syscall.SIGUSR2))
		// Calls that change something wait for whoever has the state.
		for replicas := range uint64(5) {
			must(t, l.System(t.Context(), http.MethodPost, "/system/scale-function/streams",
				types.ScaleServiceRequest{ServiceName: "streams", Namespace: lab.Namespace, Replicas: 1 + replicas%2}, nil))
		}
		awaitRestarts(t, l, i+1)
		ld.await(t, 50)
		events.answer(t, fmt.Sprint("after restart ", i))
	}
	events.end(t)
	ld.stop(t, false)
	if ld.bad > 0 {
		t.Errorf("%d requests failed: %v", ld.bad, ld.reasons)
	}
	if after := pids(t, l, "scale"); !slices.Equal(before, after) {
		t.Errorf("processes of scale were %v, are %v", before, after)
	}
}

// awaitRestarts waits until the provider has been restarted so many times.
func awaitRestarts(t *testing.T, l *lab.Lab, times int) {
	t.Helper()
	within(t, 20*time.Second, func() error {
		text, err := os.ReadFile(stateFile(l, "provider.log"))
		if n := bytes.Count(text, []byte(`"restarted: `)); err == nil && n != times {
			err = fmt.Errorf("restarted %d times, want %d", n, times)
		}
		return err
	})
}

// TestRestartWithWaitingRequests restarts the provider while requests wait for a
// replica, which the next provider starts.
func TestRestartWithWaitingRequests(t *testing.T) {
	l := start(t, lab.Options{})
	deployDigits(t, l)
	for range 2 {
		must(t, l.System(t.Context(), http.MethodPost, "/system/scale-function/digits",
			types.ScaleServiceRequest{ServiceName: "digits", Namespace: lab.Namespace, Replicas: 0}, nil))
		answered := make(chan error, 8)
		for range cap(answered) {
			go func() {
				a, err := l.Invoke(t.Context(), "digits", "", []byte(pixelsOf(t, scans(t)[0])))
				if err == nil && a.Status != http.StatusOK {
					err = fmt.Errorf("status %d: %s", a.Status, a.Body)
				}
				answered <- err
			}()
		}
		must(t, l.Provider.Signal(syscall.SIGUSR2))
		for range cap(answered) {
			if err := <-answered; err != nil {
				t.Error(err)
			}
		}
	}
}

// eventStream is a request to the function streams that goes on.
type eventStream struct {
	questions io.WriteCloser
	body      io.ReadCloser
	answers   *bufio.Reader
}

func openStream(t *testing.T, l *lab.Lab) *eventStream {
	t.Helper()
	body, questions := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.URL+"/function/streams", body)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	return &eventStream{questions, resp.Body, bufio.NewReader(resp.Body)}
}

// answer sends a line and wants the event that answers it.
func (s *eventStream) answer(t *testing.T, line string) {
	t.Helper()
	fmt.Fprintln(s.questions, line)
	event, err := s.answers.ReadString('\n')
	if err != nil || event != "data: "+line+"\n" {
		t.Fatalf("got %q, %v", event, err)
	}
	s.answers.ReadString('\n')
}

func (s *eventStream) end(t *testing.T) {
	t.Helper()
	s.questions.Close()
	if rest, err := io.ReadAll(s.answers); len(rest) > 0 || err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
	s.body.Close()
}

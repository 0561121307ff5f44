package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// zeroAfter asks for a function to be scaled to zero when it is idle so long.
func zeroAfter(d time.Duration) *map[string]string {
	return &map[string]string{"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": d.String()}
}

// replicasOf is how many replicas of a function are wanted.
func replicasOf(t *testing.T, l *lab.Lab, name string) uint64 {
	t.Helper()
	var status types.FunctionStatus
	must(t, l.System(t.Context(), http.MethodGet, "/system/function/"+name+"?namespace="+lab.Namespace, nil, &status))
	return status.Replicas
}

func awaitZero(t *testing.T, l *lab.Lab, name string) {
	t.Helper()
	within(t, 20*time.Second, func() error {
		if n := replicasOf(t, l, name); n != 0 {
			return fmt.Errorf("%s has %d replicas", name, n)
		}
		return nil
	})
}

// TestIdle invokes a function again and again after just the time for which it has
// to be idle: whether it is still there, about to leave or gone, no request fails.
func TestIdle(t *testing.T) {
	const idle = 300 * time.Millisecond
	l := start(t, lab.Options{})
	build(t, l, "streams", "go-trt", "stack/e2e/testdata/streams", nil)
	deploy(t, l, types.FunctionDeployment{Service: "streams", Image: "streams", Labels: zeroAfter(idle)})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	woken, requests := 0, 40
	for i := range requests {
		if replicasOf(t, l, "streams") == 0 {
			woken++
		}
		a := invoke(t, l, "streams", "", []byte("hello\n"))
		if a.Status != http.StatusOK || string(a.Body) != "data: hello\n\n" {
			t.Fatalf("request %d got %d: %q", i, a.Status, a.Body)
		}
		time.Sleep(idle - 5*time.Millisecond + time.Duration(r.IntN(30))*time.Millisecond)
	}
	t.Logf("%d of %d requests found the function at zero", woken, requests)
	awaitZero(t, l, "streams")
	log, err := os.ReadFile(l.Dir + "/provider.log")
	must(t, err)
	if n := bytes.Count(log, []byte("function scaled to zero")); n <= requests/10 {
		t.Errorf("the function was scaled to zero %d times only", n)
	}

	// A restart knows no last use: the time begins again.
	invoke(t, l, "streams", "", nil)
	must(t, l.Provider.Kill())
	must(t, l.Provider.Restart(t.Context()))
	if n := replicasOf(t, l, "streams"); n != 1 {
		t.Errorf("right after a restart %d replicas are wanted", n)
	}
	awaitZero(t, l, "streams")
}

// TestIdleWebSocket keeps a function in use by a connection on which nothing is
// said.
func TestIdleWebSocket(t *testing.T) {
	const idle = 200 * time.Millisecond
	l := start(t, lab.Options{})
	build(t, l, "socket", "go-trt", "stack/e2e/testdata/socket", nil)
	deploy(t, l, types.FunctionDeployment{Service: "socket", Image: "socket", Labels: zeroAfter(idle)})
	c, _, err := dialSocket(l.URL) // wakes it, if need be
	must(t, err)
	defer c.Close()
	for began := time.Now(); time.Since(began) < 5*idle; time.Sleep(idle / 4) {
		if n := replicasOf(t, l, "socket"); n != 1 {
			t.Fatalf("after %v, with a connection, %d replicas are wanted", time.Since(began), n)
		}
	}
	must(t, c.WriteMessage(websocket.TextMessage, []byte("hello")))
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, got, err := c.ReadMessage(); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	c.Close()
	awaitZero(t, l, "socket")
}

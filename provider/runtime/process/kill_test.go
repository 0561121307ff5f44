package process

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/image"
	"github.com/faas-gpu/faas-gpu/provider/runtime/runtimetest"
)

// Variables of the program that TestKilledRuntime kills: this test's own.
const (
	victimVariable = "PROCESS_TEST_STATE"
	imagesVariable = "PROCESS_TEST_IMAGES"
	seedVariable   = "PROCESS_TEST_SEED"
)

// victim changes functions at random for ever, and prints before each change
// what it will do, and after it that it is done.
func victim(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	images, err := image.Open(os.Getenv(imagesVariable))
	fail(err)
	r, err := New(Config{Dir: dir, Images: images, Tokens: runtimetest.Token})
	fail(err)
	seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64)
	fail(err)
	random := rand.New(rand.NewPCG(seed, 0))
	for {
		name, replicas := fmt.Sprint("f", random.IntN(3)), random.IntN(3)
		f := r.function(id(name))
		switch n := random.IntN(3); {
		case f == nil:
			fmt.Println("will", name, replicas)
			fail(r.Create(context.Background(), deployment(name, replicas)))
		case n == 0:
			fmt.Println("will", name, "gone")
			fail(r.Delete(context.Background(), id(name)))
		case n == 1:
			fmt.Println("will", name, replicas)
			fail(r.Scale(context.Background(), id(name), replicas))
		default:
			fmt.Println("will", name, f.record.Desired)
			fail(r.Update(context.Background(), deployment(name, replicas)))
		}
		fmt.Println("done")
		time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
	}
}

// TestKilledRuntime kills a runtime at random moments. The next one has every
// function as it was when the last change was done, exactly as many replicas as
// wanted, and no process is left that belongs to nothing.
func TestKilledRuntime(t *testing.T) {
	if _, err := testImages(); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	expected := map[string][]string{} // name to what may be there: "2", "gone"
	for range 4 {
		runVictim(t, dir, random, expected)
	}
	r := open(t, dir)
	defer stop(t, r)
	replicas := []string{}
	for name, allowed := range expected {
		f := r.Snapshot().Functions[id(name)]
		if f == nil {
			if !slices.Contains(allowed, "gone") {
				t.Errorf("seed %d: %s is lost; it may be %v", seed, name, allowed)
			}
			continue
		}
		if !slices.Contains(allowed, fmt.Sprint(f.Desired)) {
			t.Errorf("seed %d: %s has %d replicas desired; it may be %v", seed, name, f.Desired, allowed)
		}
		for _, replica := range ready(t, r, id(name), f.Desired).Replicas {
			replicas = append(replicas, replica.ID)
		}
	}
	slices.Sort(replicas)
	var running []string
	for again := testDeadline(); again(); time.Sleep(10 * time.Millisecond) {
		if running = processesIn(dir); slices.Equal(running, replicas) {
			return
		}
	}
	t.Errorf("seed %d: processes of %q run, replicas are %q", seed, running, replicas)
}

// runVictim runs a victim for a random time and notes what it has done.
func runVictim(t *testing.T, dir string, random *rand.Rand, expected map[string][]string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{
		victimVariable + "=" + dir, imagesVariable + "=" + testDir,
		seedVariable + "=" + strconv.FormatUint(random.Uint64(), 10),
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	changes := 1 + random.IntN(12)
	delay := time.Duration(random.IntN(30)) * time.Millisecond
	name := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if fields[0] == "done" {
			expected[name] = expected[name][len(expected[name])-1:]
			if changes--; changes == 0 {
				time.AfterFunc(delay, func() { cmd.Process.Kill() })
			}
			continue
		}
		name = fields[1]
		if expected[name] == nil {
			expected[name] = []string{"gone"}
		}
		expected[name] = append(expected[name], fields[2])
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the victim: %v", err)
	}
}

// processesIn lists the replicas that have processes and folders below dir.
func processesIn(dir string) []string {
	found := []string{}
	for _, pid := range pids() {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !strings.Contains(string(environ), "log_file="+dir) {
			continue
		}
		for variable := range strings.SplitSeq(string(environ), "\x00") {
			if replica, ok := strings.CutPrefix(variable, marker+"="); ok {
				found = append(found, replica)
			}
		}
	}
	slices.Sort(found)
	return found
}

// TestConcurrentChanges: calls from everywhere at once leave a state that is one
// of those asked for.
func TestConcurrentChanges(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	r := open(t, dir)
	var all sync.WaitGroup
	for worker := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(worker)))
		all.Go(func() {
			for range 15 {
				d := deployment(fmt.Sprint("f", random.IntN(2)), random.IntN(3))
				d.StopTimeout = 0
				// Each may fail because of another; what matters is the end.
				switch random.IntN(4) {
				case 0:
					_ = r.Create(t.Context(), d)
				case 1:
					_ = r.Update(t.Context(), d)
				case 2:
					_ = r.Scale(t.Context(), d.ID, d.Replicas)
				default:
					_ = r.Delete(t.Context(), d.ID)
				}
			}
		})
	}
	all.Wait()
	check := func() {
		t.Helper()
		for id, f := range r.Snapshot().Functions {
			ready(t, r, id, f.Desired)
		}
	}
	check()
	functions := len(r.Snapshot().Functions)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	if n := len(r.Snapshot().Functions); n != functions {
		t.Errorf("seed %d: %d functions after a restart, %d before", seed, n, functions)
	}
	check()
	stop(t, r)
	if left := processesIn(dir); len(left) != 0 {
		t.Errorf("seed %d: processes of %q are left", seed, left)
	}
}

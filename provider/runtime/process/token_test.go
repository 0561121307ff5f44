package process

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// TestTokenIsRenewed counts tokens: running replicas get new ones, and so do
// replicas that were adopted.
func TestTokenIsRenewed(t *testing.T) {
	dir := t.TempDir()
	var count atomic.Int64
	tokens := func(c *Config) {
		c.Tokens = func(runtime.ID, string) (runtime.Token, error) {
			return runtime.Token{Value: []byte(strconv.FormatInt(count.Add(1), 10)), Expires: time.Now().Add(time.Second)}, nil
		}
	}
	r := open(t, dir, tokens)
	create(t, r, deployment("renewed", 1))
	replica := ready(t, r, id("renewed"), 1).Replicas[0]
	file := filepath.Join(dir, "replicas", replica.ID, "secrets", runtime.TokenFile)
	newer := func(than int) int {
		t.Helper()
		for again := testDeadline(); again(); time.Sleep(5 * time.Millisecond) {
			value, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Never anything but a whole token.
			n, err := strconv.Atoi(string(value))
			if err != nil {
				t.Fatal(err)
			}
			if n > than {
				return n
			}
		}
		t.Fatalf("still token %d", than)
		return 0
	}
	n := newer(newer(0))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir, tokens)
	newer(n)
	stop(t, r)
}

func TestNoTokenNoReplica(t *testing.T) {
	r := open(t, t.TempDir(), func(c *Config) {
		c.Tokens = func(runtime.ID, string) (runtime.Token, error) { return runtime.Token{}, errors.New("the key is lost") }
	})
	defer stop(t, r)
	create(t, r, deployment("tokenless", 1))
	f := wait(t, r, id("tokenless"), func(f *runtime.Function) bool { return f.Problem != "" })
	if !strings.Contains(f.Problem, "the key is lost") || len(f.Replicas) != 0 {
		t.Errorf("problem %q, replicas %v", f.Problem, f.Replicas)
	}
}

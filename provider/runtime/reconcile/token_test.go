package reconcile

import (
	"testing"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func TestRenewal(t *testing.T) {
	now := time.Unix(1000, 0)
	for life, want := range map[time.Duration]time.Duration{
		24 * time.Hour: 12 * time.Hour, time.Second: time.Second, -time.Hour: time.Second,
	} {
		if got := renewal(now, runtime.Token{Expires: now.Add(life)}); got != now.Add(want) {
			t.Errorf("a token of %v is renewed after %v, want %v", life, got.Sub(now), want)
		}
	}
}

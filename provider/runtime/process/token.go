package process

import (
	"fmt"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// tokenRetry is the time after which a token that could not be made is tried
// again.
const tokenRetry = 5 * time.Second

// token of a function, for all its replicas.
type token struct {
	value []byte
	renew time.Time // at half its life
}

// currentToken returns the function's token, a new one if it is time; nil if
// functions get none.
func (f *function) currentToken(now time.Time) ([]byte, error) {
	if f.rt.config.Tokens == nil || now.Before(f.token.renew) && f.token.value != nil {
		return f.token.value, nil
	}
	t, err := f.rt.config.Tokens(f.id, f.uid)
	if err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	f.token = token{t.Value, renewal(now, t)}
	// All get the new one: it is the last of which the renewal is known.
	for _, r := range f.replicas {
		if err := f.rt.deliverToken(r, t.Value); err != nil {
			return nil, fmt.Errorf("deliver a token: %w", err)
		}
	}
	return f.token.value, nil
}

// renewToken keeps the tokens of running replicas fresh and returns when to do
// so again. Replicas that were adopted get a new one at once.
func (f *function) renewToken(now time.Time) time.Time {
	if len(f.replicas) == 0 || f.rt.config.Tokens == nil || f.want.Load().deleted {
		return time.Time{}
	}
	if now.Before(f.token.renew) {
		return f.token.renew
	}
	if _, err := f.currentToken(now); err != nil {
		f.rt.config.Log.Error("renew a function's token", "function", f.id, "err", err)
		f.token.renew = now.Add(tokenRetry)
	}
	return f.token.renew
}

// renewal is half the life of a token, and never at once.
func renewal(now time.Time, t runtime.Token) time.Time {
	return now.Add(max(t.Expires.Sub(now)/2, time.Second))
}

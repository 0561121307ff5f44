package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// tokenRetry is the time after which a token that could not be made is tried
// again.
const tokenRetry = 5 * time.Second

// token of a revision, for all its replicas.
type token struct {
	value []byte
	renew time.Time // at half its life
}

// currentToken returns the token of a revision, a new one if it is time; nil if
// functions get none.
func (f *Function) currentToken(revision int, now time.Time) ([]byte, error) {
	known := f.tokens[revision]
	if f.all.config.Tokens == nil || now.Before(known.renew) && known.value != nil {
		return known.value, nil
	}
	t, err := f.all.config.Tokens(f.id, revisionName(f.uid, revision))
	if err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	f.tokens[revision] = token{t.Value, renewal(now, t)}
	// All get the new one: it is the last of which the renewal is known.
	for _, r := range f.replicas {
		if r.info.Revision != revision {
			continue
		}
		if err := r.DeliverToken(t.Value); err != nil {
			return nil, fmt.Errorf("deliver a token: %w", err)
		}
	}
	return t.Value, nil
}

// renewTokens keeps the tokens of running replicas fresh and returns when to do
// so again. Replicas that were adopted get a new one at once.
func (f *Function) renewTokens(now time.Time) (next time.Time) {
	if f.all.config.Tokens == nil || f.want.Load().Deleted {
		return time.Time{}
	}
	revisions := f.runningRevisions()
	maps.DeleteFunc(f.tokens, func(revision int, _ token) bool { return !slices.Contains(revisions, revision) })
	for _, revision := range revisions {
		if _, err := f.currentToken(revision, now); err != nil {
			f.all.config.Log.Error("renew a function's token", "function", f.id, "err", err)
			f.tokens[revision] = token{f.tokens[revision].value, now.Add(tokenRetry)}
		}
		if renew := f.tokens[revision].renew; next.IsZero() || renew.Before(next) {
			next = renew
		}
	}
	return next
}

// runningRevisions are those that still have replicas, leaving ones included.
func (f *Function) runningRevisions() []int {
	var revisions []int
	for _, r := range f.replicas {
		if !slices.Contains(revisions, r.info.Revision) {
			revisions = append(revisions, r.info.Revision)
		}
	}
	return revisions
}

// revisionName is what a revision is called outside.
func revisionName(uid string, revision int) string { return uid + "." + strconv.Itoa(revision) }

// renewal is half the life of a token, and never at once.
func renewal(now time.Time, t runtime.Token) time.Time {
	return now.Add(max(t.Expires.Sub(now)/2, time.Second))
}

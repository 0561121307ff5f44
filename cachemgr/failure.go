package cachemgr

import (
	"fmt"
	"time"
)

// FailedError says that a model is not tried again before RetryAt. It is
// ErrFailed and its Reason.
type FailedError struct {
	Reason  error
	RetryAt time.Time
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%v, next attempt after %s: %v", ErrFailed, e.RetryAt.UTC().Format(time.RFC3339), e.Reason)
}

func (e *FailedError) Unwrap() []error { return []error{ErrFailed, e.Reason} }

// failure remembers what went wrong and when it may be tried again. The zero
// value is no failure.
type failure struct {
	err     error
	count   int // in a row
	retryAt time.Time
}

// note records one more failure; the wait doubles with each.
func (f *failure) note(err error, now time.Time, first, last time.Duration) {
	wait := first
	for i := 0; i < f.count && wait < last; i++ {
		wait *= 2
	}
	f.err, f.count, f.retryAt = err, f.count+1, now.Add(min(wait, last))
}

// holds reports whether it is too early to try again.
func (f *failure) holds(now time.Time) bool { return f.err != nil && now.Before(f.retryAt) }

func (f *failure) asError() error { return &FailedError{Reason: f.err, RetryAt: f.retryAt} }

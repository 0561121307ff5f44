package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrUnreachable: the cache manager did not answer; whether it got the request
// is not known.
var ErrUnreachable = errors.New("cache manager does not answer")

// Error is an answer of the cache manager that is not 2xx.
type Error struct {
	Status  int
	Message string
	// RetryAfter is how long to wait before another try, 0 if the answer does not
	// say.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("cache manager: %s (status %d)", e.Message, e.Status)
}

// IsUnknownModel reports that the cache manager has no such model of the caller,
// as after a restart with an empty store: offering the models again may help.
func IsUnknownModel(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound
}

// IsUnavailable reports that the cache manager cannot serve now and may later:
// it is not there, or says so itself.
func IsUnavailable(err error) bool {
	if errors.Is(err, ErrUnreachable) {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusServiceUnavailable || e.Status == http.StatusTooManyRequests)
}

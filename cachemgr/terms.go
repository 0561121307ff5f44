package cachemgr

import (
	"errors"
	"fmt"
	"time"
)

// Terms are what a function says of how one of its models may be served. A file
// that several functions have is served to each on its own terms.
type Terms struct {
	// Precisions may compute it on a GPU, the preferred one first; none leaves it
	// to the node.
	Precisions []string
	// MaxBatch is the largest first dimension of a request, where that is dynamic,
	// for which an engine is built; 0 leaves it to the node.
	MaxBatch int
	// Fallback is what happens while no GPU can answer: an api.Fallback value, ""
	// is api.FallbackCPU.
	Fallback string
}

// ErrBuilding: the model's engine is not built yet, and the terms let no other
// engine answer meanwhile.
var ErrBuilding = errors.New("the model's engine is not built yet")

// BuildingError says how far the building is, and when to ask again. It is
// ErrBuilding.
type BuildingError struct {
	Progress string
	RetryAt  time.Time
}

func (e *BuildingError) Error() string { return fmt.Sprintf("%v: %s", ErrBuilding, e.Progress) }

func (e *BuildingError) Unwrap() error { return ErrBuilding }

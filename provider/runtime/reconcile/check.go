package reconcile

import (
	"fmt"
	"regexp"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
	"github.com/faas-gpu/faas-gpu/provider/runtime/namespaces"
)

// maxReplicas of a function: more on one machine are a mistake.
const maxReplicas = 100

var functionName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckReplicas is whether a count can be wanted. ErrInvalid.
func CheckReplicas(n int) error {
	if n < 0 || n > maxReplicas {
		return fmt.Errorf("%w: %d replicas; 0 to %d are possible", runtime.ErrInvalid, n, maxReplicas)
	}
	return nil
}

// CheckID is whether a function may be called so; there may be no such namespace.
// ErrInvalid.
func CheckID(id runtime.ID) error {
	if err := namespaces.CheckName(id.Namespace); err != nil {
		return err
	}
	if !functionName.MatchString(id.Name) {
		return fmt.Errorf("%w: the name %q; a function's name has up to 63 characters of a-z, 0-9 and hyphen, the first and last no hyphen", runtime.ErrInvalid, id.Name)
	}
	return nil
}

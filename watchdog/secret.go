package watchdog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/watchdog/call"
)

// Secret is the value of a secret that the deployment names, as it was stored.
// ctx is that of the request.
func Secret(ctx context.Context, name string) ([]byte, error) {
	c := call.From(ctx)
	if c == nil {
		return nil, errors.New("secret: the context is not that of a request: pass r.Context() of the handler's request")
	}
	if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
		return nil, fmt.Errorf("secret: %q is not a name", name)
	}
	value, err := os.ReadFile(filepath.Join(c.SecretsDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("secret %q: the function was not deployed with it", name)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	return value, nil
}

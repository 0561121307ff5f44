package watchdog

import (
	"net/http"

	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/run"
)

// Main serves a handler until the process is asked to end, and returns the exit
// code. Its configuration is in the environment; the program's -help lists it.
func Main(handle http.HandlerFunc) int {
	return run.Main(config.InProcess, handle)
}

// Program fwatchdog serves a function of any language, or none: an HTTP server
// that it starts, a process for each request, a folder of files, or a model.
package main

import (
	"os"

	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/run"
)

func main() { os.Exit(run.Main(config.Forked, nil)) }

// Program fwatchdog serves a function of any language: it starts the function's
// own HTTP server and passes requests on to it.
package main

import (
	"os"

	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/run"
)

func main() { os.Exit(run.Main(config.Forked, nil)) }

// The program of a go-trt function: the handler inside a watchdog. It is the
// same for every function; yours is in function/.
package main

import (
	"os"

	"github.com/faas-gpu/faas-gpu/watchdog"

	"handler/function"
)

func main() { os.Exit(watchdog.Main(function.Handle)) }

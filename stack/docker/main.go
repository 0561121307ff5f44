// The command docker stands in for Docker where there is none: it builds the
// contexts that `faas-cli build` makes of our templates, with the host's Go
// toolchain, and puts the images where the process runtime finds them. It knows
// `docker build` and nothing else, and does not read Dockerfiles: what goes into
// an image is said by the template's process.yaml.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/faas-gpu/faas-gpu/internal/env"
)

const whatItIs = `This docker is the small one of faas-gpu's embedded stack: it builds images of
faas-gpu's templates for functions that run as processes, with

    docker build [--build-arg NAME=VALUE] [--label NAME=VALUE] --tag IMAGE CONTEXT

Anything else is for the real Docker: take the folder of this command off the PATH.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the command with its arguments and environment; it returns the exit
// status.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, whatItIs)
		return 1
	}
	switch args[0] {
	case "build":
	case "version", "--version", "-v", "help", "--help", "-h":
		fmt.Fprint(stdout, whatItIs)
		return 0
	default:
		fmt.Fprintf(stderr, "docker %s: not supported.\n%s", args[0], whatItIs)
		return 1
	}
	if err := build(ctx, args[1:], environ, stdout); err != nil {
		fmt.Fprintln(stderr, "docker build:", err)
		return 1
	}
	return 0
}

// config is where things are on this machine.
type config struct {
	images   string // the folder of images
	source   string // the checkout that functions are built against
	watchdog string // the program fwatchdog
	environ  []string
}

func readConfig(environ []string) (config, error) {
	set := env.New(environ)
	c := config{
		images:   set.String("FAAS_GPU_IMAGES", "", "folder that images are put into"),
		source:   set.String("FAAS_GPU_SOURCE", "", "checkout of faas-gpu that Go functions are built against"),
		watchdog: set.String("FAAS_GPU_WATCHDOG", "", "program fwatchdog, for templates of other languages"),
		environ:  environ,
	}
	if c.images == "" {
		set.Fail("FAAS_GPU_IMAGES", "not set; it is in the file that `make up` tells you to source")
	}
	return c, set.Err()
}

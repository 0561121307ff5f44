// The program replica is that of the suite's image, for runtimes whose images
// cannot hold the test's own program.
package main

import "github.com/faas-gpu/faas-gpu/provider/runtime/runtimetest"

func main() { runtimetest.Replica() }

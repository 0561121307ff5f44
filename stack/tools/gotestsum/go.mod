// Runs `go test` and says at the end what was skipped and why, and what failed.
module github.com/faas-gpu/faas-gpu/stack/tools/gotestsum

go 1.26

require gotest.tools/gotestsum v1.13.0

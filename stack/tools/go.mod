// Built with `go build -mod=mod`: see the Makefile.
module github.com/faas-gpu/faas-gpu/stack/tools

go 1.26

require github.com/openfaas/faas-cli v0.0.0-20260724145813-c8191b71e7ed

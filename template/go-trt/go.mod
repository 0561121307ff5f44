// The workspace that a function is built in has this module, the handler's and
// github.com/faas-gpu/faas-gpu: see the Dockerfile.
module handler

go 1.26

module handler

go 1.26

require (
	github.com/faas-gpu/faas-gpu v0.0.0
	handler/function v0.0.0
)

package docker

import (
	"maps"
	"slices"
	"strconv"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// Ports of a watchdog. Every container has an address of its own.
const (
	watchdogPort = 8080
	metricsPort  = 8081
)

// environment of a replica: what comes later wins. The variables that the runtime
// relies on come last; the image's own stand before all. socket is the name of the
// cache manager's.
func environment(d *runtime.Deployment, socket string) []string {
	env := map[string]string{"OPENFAAS_NAME": d.ID.Name, "OPENFAAS_NAMESPACE": d.ID.Namespace}
	if d.Request.EnvProcess != "" {
		env["fprocess"] = d.Request.EnvProcess
	}
	maps.Copy(env, d.Environment)
	maps.Copy(env, d.Request.EnvVars)
	maps.Copy(env, map[string]string{
		"port":              strconv.Itoa(watchdogPort),
		"metrics_port":      strconv.Itoa(metricsPort),
		"bind":              "",
		"TMPDIR":            "/tmp",
		"secret_mount_path": secretsDir,
		"log_file":          "", // Docker keeps what the container writes
		"cachemgr_socket":   socketDir + "/" + socket,
	})
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

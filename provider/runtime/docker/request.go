package docker

import (
	"math"
	"time"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// Logs of a container: so much on disk, and the older half is dropped.
const (
	logFileSize = "8m"
	logFiles    = "2"
)

// maxProcesses of a container: enough for any function, and no way to use up the
// machine's.
const maxProcesses = 4096

// withheld are rights that Docker gives containers and no function needs: with
// NET_RAW one could answer in another's place on their common network.
var withheld = []string{"NET_RAW", "MKNOD"}

// request is a container in Docker's words.
func request(c containerSpec) (*dockercontainer.Config, *dockercontainer.HostConfig) {
	stop, processes := int(math.Ceil(min(c.StopTimeout, math.MaxInt32*time.Second).Seconds())), int64(maxProcesses)
	config := &dockercontainer.Config{
		Image: c.Image, Env: c.Env, Labels: c.Labels, StopTimeout: &stop,
		// The runtime asks by itself, more often than most images would.
		Healthcheck: &dockercontainer.HealthConfig{Test: []string{"NONE"}},
	}
	host := &dockercontainer.HostConfig{
		NetworkMode: dockercontainer.NetworkMode(c.Network),
		// Package reconcile starts what ended.
		RestartPolicy:  dockercontainer.RestartPolicy{Name: dockercontainer.RestartPolicyDisabled},
		LogConfig:      dockercontainer.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logFileSize, "max-file": logFiles}},
		SecurityOpt:    []string{"no-new-privileges"},
		CapDrop:        withheld,
		ReadonlyRootfs: c.ReadOnly,
		Resources: dockercontainer.Resources{
			Memory: c.MemoryBytes, MemorySwap: c.MemoryBytes, // no swap beside it
			NanoCPUs: c.NanoCPUs, PidsLimit: &processes,
		},
	}
	if c.ReadOnly {
		host.Tmpfs = map[string]string{"/tmp": "mode=1777"}
	}
	for _, b := range c.Mounts {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: b.From, Target: b.To, ReadOnly: true})
	}
	if c.GPU != nil {
		host.DeviceRequests = []dockercontainer.DeviceRequest{deviceRequest(*c.GPU)}
	}
	return config, host
}

func deviceRequest(g gpuRequest) dockercontainer.DeviceRequest {
	r := dockercontainer.DeviceRequest{Driver: g.Driver, DeviceIDs: []string{g.Device}}
	if g.Driver != "cdi" {
		r.Capabilities = [][]string{{"gpu"}}
	}
	return r
}

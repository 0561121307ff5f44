package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/faas-gpu/faas-gpu/provider/runtime/machine"
)

// engine is a daemon that is reached through its API.
type engine struct{ api *client.Client }

// dial prepares calls to a daemon at host, such as unix:///run/docker.sock. The
// version of the API is agreed on with the first call.
func dial(host string) (*engine, error) {
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &engine{api}, nil
}

func (e *engine) Close() error { return e.api.Close() }

// named turns Docker's ways to say "not there" into ours.
func named(err error) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %w", errNotThere, err)
	}
	return err
}

func (e *engine) Node(ctx context.Context) (node, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return node{}, err
	}
	labels := map[string]string{}
	for _, label := range info.Labels {
		name, value, _ := strings.Cut(label, "=")
		labels[name] = value
	}
	return node{
		Machine: machine.Machine{
			ID: info.ID, Name: info.Name, OS: info.OSType, Arch: machine.Arch(info.Architecture), EngineLabels: labels,
			CPUs: info.NCPU, MemoryBytes: info.MemTotal,
		},
		Version: info.ServerVersion, LimitsMemory: info.MemoryLimit, LimitsCPU: info.CPUCfsQuota,
		RemapsUsers: remapsUsers(info.SecurityOptions),
	}, nil
}

// remapsUsers is whether the daemon runs containers in a user namespace (userns-remap),
// or itself in one.
func remapsUsers(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool {
		name, _, _ := strings.Cut(o, ",")
		return name == "name=userns" || name == "name=rootless"
	})
}

func (e *engine) EnsureNetwork(ctx context.Context, name string) error {
	_, err := e.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if !errdefs.IsNotFound(err) {
		return err
	}
	_, err = e.api.NetworkCreate(ctx, name, network.CreateOptions{
		Driver: "bridge", Labels: map[string]string{labelInstallation: name},
	})
	if errdefs.IsConflict(err) { // somebody else was faster
		return nil
	}
	return err
}

func (e *engine) Create(ctx context.Context, name string, c containerSpec) (string, error) {
	config, host := request(c)
	made, err := e.api.ContainerCreate(ctx, config, host, nil, nil, name)
	return made.ID, named(err)
}

func (e *engine) Start(ctx context.Context, id string) error {
	return e.api.ContainerStart(ctx, id, dockercontainer.StartOptions{})
}

func (e *engine) Inspect(ctx context.Context, id string) (container, error) {
	c, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return container{}, named(err)
	}
	if c.ContainerJSONBase == nil || c.State == nil || c.Config == nil || c.NetworkSettings == nil {
		return container{}, fmt.Errorf("the daemon describes container %s incompletely", id)
	}
	return container{
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Image: c.Image, Labels: c.Config.Labels,
		State: c.State.Status, ExitCode: c.State.ExitCode, OOM: c.State.OOMKilled,
		IP: address(c.NetworkSettings.Networks, c.Config.Labels[labelInstallation]),
	}, nil
}

func (e *engine) Containers(ctx context.Context, installation string) ([]container, error) {
	list, err := e.api.ContainerList(ctx, dockercontainer.ListOptions{All: true, Filters: labelled(labelInstallation, installation)})
	if err != nil {
		return nil, err
	}
	containers := make([]container, 0, len(list))
	for _, c := range list {
		own := container{ID: c.ID, Image: c.ImageID, Labels: c.Labels, State: c.State}
		if len(c.Names) > 0 {
			own.Name = strings.TrimPrefix(c.Names[0], "/")
		}
		if c.NetworkSettings != nil {
			own.IP = address(c.NetworkSettings.Networks, installation)
		}
		containers = append(containers, own)
	}
	return containers, nil
}

func address(networks map[string]*network.EndpointSettings, name string) string {
	n := networks[name]
	if n == nil {
		return ""
	}
	return cmp.Or(n.IPAddress, n.GlobalIPv6Address) // a network may have no IPv4
}

func (e *engine) Signal(ctx context.Context, id, signal string) error {
	err := e.api.ContainerKill(ctx, id, signal)
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // it is gone, or does not run
		return nil
	}
	return err
}

func (e *engine) Remove(ctx context.Context, id string) error {
	err := e.api.ContainerRemove(ctx, id, dockercontainer.RemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // it is gone, or just being removed
		return nil
	}
	return err
}

func (e *engine) Logs(ctx context.Context, id string, q logQuery) (io.ReadCloser, error) {
	options := dockercontainer.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: q.Follow}
	if !q.Since.IsZero() {
		options.Since = timestamp(q.Since)
	}
	if q.Tail > 0 {
		options.Tail = strconv.Itoa(q.Tail)
	}
	stream, err := e.api.ContainerLogs(ctx, id, options)
	return stream, named(err)
}

// timestamp is how the API writes a time: seconds and nanoseconds.
func timestamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// eventMargin is how far back events are asked for, which the daemon keeps: its
// clock may be behind, and it begins to listen after it has said so.
const eventMargin = 2 * time.Second

func (e *engine) Watch(ctx context.Context, installation string, listening func() error, report func(event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filter := labelled(labelInstallation, installation)
	filter.Add("type", string(events.ContainerEventType))
	filter.Add("event", string(events.ActionStart))
	filter.Add("event", string(events.ActionDie))
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: filter, Since: timestamp(time.Now().Add(-eventMargin))})
	if err := listening(); err != nil {
		return err
	}
	for {
		select {
		case m := <-messages:
			report(event{ID: m.Actor.ID, Started: m.Action == events.ActionStart})
		case err := <-errs:
			if err == nil {
				err = errors.New("the daemon ended the stream of events")
			}
			return err
		}
	}
}

func (e *engine) SaveRecord(ctx context.Context, name string, labels map[string]string) error {
	_, err := e.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
	return err
}

func (e *engine) Records(ctx context.Context, having map[string]string) (map[string]map[string]string, error) {
	filter := filters.NewArgs()
	for name, value := range having {
		filter.Add("label", name+"="+value)
	}
	list, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: filter})
	if err != nil {
		return nil, err
	}
	records := map[string]map[string]string{}
	for _, v := range list.Volumes {
		records[v.Name] = v.Labels
	}
	return records, nil
}

func (e *engine) RemoveRecord(ctx context.Context, name string) error {
	err := e.api.VolumeRemove(ctx, name, false)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

func labelled(name, value string) filters.Args {
	return filters.NewArgs(filters.Arg("label", name+"="+value))
}

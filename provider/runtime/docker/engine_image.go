package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	dockercontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

func (e *engine) Image(ctx context.Context, name string) (imageInfo, error) {
	i, err := e.api.ImageInspect(ctx, name)
	if err != nil {
		return imageInfo{}, named(err)
	}
	info := imageInfo{ID: i.ID}
	if i.Config != nil {
		info.User = i.Config.User
	}
	return info, nil
}

func (e *engine) Pull(ctx context.Context, name string, progress func(string)) error {
	stream, err := e.api.ImagePull(ctx, name, image.PullOptions{})
	if err != nil {
		return err
	}
	defer stream.Close()
	return readPull(stream, progress)
}

// pullMessage is one message of a pull: a layer's state, or how it failed.
type pullMessage struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
	} `json:"progressDetail"`
	Error string `json:"error"`
}

// readPull sums up the messages of a pull.
func readPull(stream io.Reader, progress func(string)) error {
	layers, loaded := map[string]bool{}, map[string]int64{} // by ID: whole, bytes
	for decoder := json.NewDecoder(stream); ; {
		var m pullMessage
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the daemon's account of a pull: %w", err)
		}
		switch m.Status {
		case "Pulling fs layer", "Waiting", "Verifying Checksum", "Download complete", "Extracting":
			layers[m.ID] = false
		case "Downloading":
			layers[m.ID] = false
			loaded[m.ID] = max(loaded[m.ID], m.Progress.Current)
		case "Pull complete", "Already exists":
			layers[m.ID] = true
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		progress(summary(layers, loaded))
	}
}

func summary(layers map[string]bool, loaded map[string]int64) string {
	if len(layers) == 0 {
		return "asking the registry"
	}
	whole, bytes := 0, int64(0)
	for _, done := range layers {
		if done {
			whole++
		}
	}
	for _, n := range loaded {
		bytes += n
	}
	return fmt.Sprintf("%d of %d layers, %d MB loaded", whole, len(layers), bytes/1_000_000)
}

func (e *engine) Usage(ctx context.Context, id string) (usage, error) {
	answer, err := e.api.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return usage{}, named(err)
	}
	defer answer.Body.Close()
	var s dockercontainer.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return usage{}, fmt.Errorf("the daemon's statistics of a container: %w", err)
	}
	return usageOf(s), nil
}

// usageOf leaves out what the kernel gives back when memory is short, as Docker's
// own tools do.
func usageOf(s dockercontainer.StatsResponse) usage {
	inactive := s.MemoryStats.Stats["total_inactive_file"] // control groups, version 1
	if inactive == 0 {
		inactive = s.MemoryStats.Stats["inactive_file"]
	}
	memory := s.MemoryStats.Usage
	if inactive < memory {
		memory -= inactive
	}
	return usage{At: s.Read, CPU: time.Duration(s.CPUStats.CPUUsage.TotalUsage), MemoryBytes: int64(memory)}
}

package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/faas-gpu/faas-gpu/provider/runtime/machine"
)

// daemon is all that this package asks of Docker.
type daemon interface {
	// Node describes the machine.
	Node(ctx context.Context) (node, error)
	// EnsureNetwork makes a bridge network that is labelled as the installation's,
	// unless there is one of that name.
	EnsureNetwork(ctx context.Context, name string) error

	// Image finds an image on the machine. errNotThere.
	Image(ctx context.Context, name string) (imageInfo, error)
	// Pull fetches an image and reports how far it is.
	Pull(ctx context.Context, name string, progress func(string)) error

	// Create makes a container and returns its ID. errNotThere: its image.
	Create(ctx context.Context, name string, c containerSpec) (id string, err error)
	Start(ctx context.Context, id string) error
	// Inspect tells how a container is. errNotThere.
	Inspect(ctx context.Context, id string) (container, error)
	// Containers lists those of an installation, running or not.
	Containers(ctx context.Context, installation string) ([]container, error)
	// Signal does nothing if the container does not run any more.
	Signal(ctx context.Context, id, signal string) error
	// Remove ends a container and removes it, if it is there.
	Remove(ctx context.Context, id string) error
	// Logs is what a container wrote, in the frames of package stdcopy, each line
	// with the time. errNotThere.
	Logs(ctx context.Context, id string, q logQuery) (io.ReadCloser, error)
	// Usage of a running container. errNotThere.
	Usage(ctx context.Context, id string) (usage, error)
	// Watch reports containers of an installation that start and that die, until ctx
	// ends, the connection is lost, or listening fails. It calls listening once it
	// misses none any more.
	Watch(ctx context.Context, installation string, listening func() error, report func(event)) error

	// SaveRecord makes a volume with labels that holds nothing.
	SaveRecord(ctx context.Context, name string, labels map[string]string) error
	// Records are the labels of the volumes that have all the labels asked for, by
	// name.
	Records(ctx context.Context, having map[string]string) (map[string]map[string]string, error)
	// RemoveRecord removes a volume, if it is there.
	RemoveRecord(ctx context.Context, name string) error

	Close() error
}

// errNotThere says that the daemon does not have what was asked for.
var errNotThere = errors.New("not there")

// node is the machine of a daemon.
type node struct {
	machine.Machine
	Version      string // of the daemon
	LimitsMemory bool
	LimitsCPU    bool
	RemapsUsers  bool // users of containers are others on the machine
}

type imageInfo struct {
	ID   string
	User string // of its program: name or number, perhaps with a group after a colon
}

// container as the daemon describes it.
type container struct {
	ID, Name string
	Image    string // its ID
	Labels   map[string]string
	State    string // "created", "running", "exited", …
	IP       string // in the installation's network, "" if it does not run
	ExitCode int    // Inspect only
	OOM      bool   // Inspect only: it was ended for its use of memory
}

// alive is whether the container's program runs, or did not start yet.
func (c container) alive() bool {
	return c.State == "running" || c.State == "paused" || c.State == "created"
}

// event is that a container has started, or has died.
type event struct {
	ID      string
	Started bool
}

// containerSpec is what a container is made of. Units are Docker's.
type containerSpec struct {
	Image       string
	Env         []string
	Labels      map[string]string
	Network     string
	Mounts      []bind
	ReadOnly    bool // with a /tmp of its own
	MemoryBytes int64
	NanoCPUs    int64
	StopTimeout time.Duration
	GPU         *gpuRequest
}

// bind is a folder of the machine that a container sees, read-only.
type bind struct{ From, To string }

// gpuRequest asks for one GPU.
type gpuRequest struct {
	Driver string // "nvidia" or "cdi"
	Device string // as the driver names it
}

// logQuery selects lines.
type logQuery struct {
	Since  time.Time // zero: all
	Tail   int       // 0: all
	Follow bool      // until the container has ended
}

// usage of a container.
type usage struct {
	At          time.Time
	CPU         time.Duration // since its start
	MemoryBytes int64
}

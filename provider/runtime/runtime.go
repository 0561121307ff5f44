package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"
)

// ID names a function.
type ID struct{ Namespace, Name string }

func (id ID) String() string { return id.Name + "." + id.Namespace }

// Functions changes what should run. Every call returns once the change is
// durable, not once it is carried out: pulling an image takes minutes, and
// clients wait 60 s.
type Functions interface {
	// Create makes a function of d. ErrExists; ErrInvalid: this runtime cannot
	// run it as asked, the message says why and is shown to whoever deployed.
	Create(ctx context.Context, d Deployment) error
	// Update replaces a function's deployment, keeping its desired count, and
	// its replicas one after the other. ErrNotFound, ErrInvalid.
	Update(ctx context.Context, d Deployment) error
	// Scale sets the number of replicas wanted; 0 keeps the function without
	// any. ErrNotFound.
	Scale(ctx context.Context, id ID, replicas int) error
	// Delete forgets the function; its name is free when Delete returns, and
	// its replicas are drained in the background. ErrNotFound.
	Delete(ctx context.Context, id ID) error
}

// Observer tells what is.
type Observer interface {
	// Snapshot is the present state. It does not block, and nothing it points
	// to ever changes.
	Snapshot() *Snapshot
	// Changed is closed when a Snapshot newer than s exists.
	Changed(s *Snapshot) <-chan struct{}
}

// Logger reads what replicas wrote.
type Logger interface {
	// Logs calls emit for every line that q asks for, oldest first per replica,
	// and returns when there are no more, when ctx ends (nil if q.Follow), or
	// when emit fails (its error). ErrNotFound.
	Logs(ctx context.Context, q logs.Request, emit func(logs.Message) error) error
}

// Secrets keeps values for functions of one namespace. A function sees, as
// files, the secrets that its deployment names, with the values they had when
// its replica started.
type Secrets interface {
	ListSecrets(ctx context.Context, namespace string) ([]string, error)
	CreateSecret(ctx context.Context, namespace, name string, value []byte) error // ErrExists
	UpdateSecret(ctx context.Context, namespace, name string, value []byte) error // ErrNotFound
	DeleteSecret(ctx context.Context, namespace, name string) error               // ErrNotFound
}

// Namespaces changes where functions and secrets may live. Those of two namespaces
// have nothing to do with each other, whatever their names.
type Namespaces interface {
	// ListNamespaces returns the default one, which is always there, and then the
	// others by name.
	ListNamespaces(ctx context.Context) ([]Namespace, error)
	CreateNamespace(ctx context.Context, n Namespace) error // ErrExists, ErrInvalid
	// UpdateNamespace replaces the labels and annotations. ErrNotFound.
	UpdateNamespace(ctx context.Context, n Namespace) error
	// DeleteNamespace forgets a namespace and its secrets. ErrNotFound; ErrInUse: it
	// has functions; ErrInvalid: it is the default one.
	DeleteNamespace(ctx context.Context, name string) error
}

// Runtime runs functions.
type Runtime interface {
	Functions
	Observer
	Logger
	Secrets
	Namespaces
	// Info describes the runtime for GET /system/info.
	Info() Info
	// Close stops watching. Replicas go on.
	Close() error
}

// Deployment is what a runtime is asked to run. Request is kept and given back
// verbatim; the other fields are what the provider understood of it.
type Deployment struct {
	ID      ID
	Request types.FunctionDeployment
	Limits  Resources // 0: no limit
	// Replicas is the count wanted at Create; Update ignores it.
	Replicas int
	// StopTimeout is how long a replica that was asked to stop may go on.
	StopTimeout time.Duration
	// Environment is added to the request's own (which wins).
	Environment map[string]string
}

// DefaultNamespace is where functions and secrets live that name no namespace.
const DefaultNamespace = "openfaas-fn"

// Namespace with what was said of it, which means nothing here.
type Namespace struct {
	Name                string
	Labels, Annotations map[string]string
}

// Resources in units the kernel knows.
type Resources struct {
	MemoryBytes int64
	MilliCPU    int64
}

// Snapshot of all functions.
type Snapshot struct {
	Generation uint64
	Functions  map[ID]*Function
}

// Function is one function as it is now.
type Function struct {
	Deployment Deployment
	UID        string // of the function; a new one after Delete and Create
	// Revisions name the deployments of the function that still have processes,
	// those that are leaving included. The first is the present one, processes or
	// not; Create and Update each make a new one. It is what a replica's token
	// says: during an update, old and new replicas keep their own models.
	Revisions []string
	CreatedAt time.Time
	Desired   int
	Replicas  []Replica // of the present and, during an update, of the former deployment
	// Problem says in words why replicas are missing ("image not found: …",
	// "exited with status 2, restarted in 4s"); "" if nothing is wrong.
	Problem string
	// InVain counts the replicas of the present deployment that did not start, or
	// ended before they were ready, since one was ready.
	InVain int
}

// Replica is one running copy.
type Replica struct {
	ID      string // unique for ever
	Node    string
	URL     string // http://host:port, where the watchdog listens
	Ready   bool   // its watchdog says that it would serve a request now
	Started time.Time
	Usage   func() Usage // reads the present usage; nil where not known
}

// Usage of a replica.
type Usage struct {
	MilliCPU    float64 // over the time since it was last read
	MemoryBytes int64
}

// Info of a runtime.
type Info struct {
	Orchestration string // "process", "docker", "swarm"
	Version       string
	// Warnings for whoever operates it: "development only: no isolation".
	Warnings []string
	// Unenforced lists the kinds of limits that cannot be enforced here, with
	// the reason: "memory: no permission to create cgroups".
	Unenforced []string
}

// Token is what the provider gives a function to show to cache managers. A
// runtime delivers it as the file TokenFile among the function's secrets, and
// replaces it at half its life.
type Token struct {
	Value   []byte
	Expires time.Time
}

// TokenFile is the name of the token among a function's secrets. No secret may
// have this name.
const TokenFile = "faas-gpu-token"

// TokenSource makes the tokens of a revision's replicas. A token is made after a
// Snapshot has shown its revision.
type TokenSource func(id ID, revision string) (Token, error)

var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrInvalid  = errors.New("cannot be run")
	ErrInUse    = errors.New("in use")
)

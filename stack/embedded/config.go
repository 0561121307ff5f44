package embedded

import (
	"io"
	"path/filepath"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/node"
	"github.com/faas-gpu/faas-gpu/internal/env"
)

// Config of a Stack.
type Config struct {
	// StateDir holds everything that is kept: functions, secrets, images, models,
	// keys and the password.
	StateDir string
	Bind     string
	Port     int // 0: any free one

	Library string // ONNX Runtime
	Threads int    // that compute one request; 0: all processors
	// Cache is the cache manager's part: its budgets, quota and addresses.
	Cache node.Config

	StopTimeout time.Duration // of all functions together
	Path        string        // where functions find programs of this machine

	// What the env file tells a shell beside the stack's own address.
	ToolsPath string // folders, first on the PATH: faas-cli and our docker
	Source    string // checkout that Go functions are built against
	Watchdog  string // program fwatchdog
}

// ReadConfig reads an environment in the form of os.Environ. The error names
// every value that is wrong.
func ReadConfig(environ []string) (Config, error) {
	set := env.New(environ)
	c := declare(set)
	if c.Library == "" {
		set.Fail("onnxruntime_library", "not set; stack/deps/onnxruntime.sh installs the library")
	}
	if c.Port > 65535 {
		set.Fail("port", "%d is not a port", c.Port)
	}
	if err := set.Err(); err != nil {
		return c, err
	}
	var err error
	c.StateDir, err = filepath.Abs(c.StateDir)
	return c, err
}

// Usage prints every variable with its default and its meaning.
func Usage(w io.Writer) error {
	set := env.New(nil)
	declare(set)
	return set.Usage(w)
}

func declare(set *env.Set) Config {
	return Config{
		StateDir: set.String("state_dir", "faas-gpu-state", "folder of everything that is kept"),
		Bind:     set.String("bind", "127.0.0.1", "address to listen on"),
		Port:     set.Int("port", 8080, "port of the OpenFaaS API; 0: any free one"),
		Library:  set.String("onnxruntime_library", set.String("ONNXRUNTIME_LIB", "", "same as onnxruntime_library"), "path of libonnxruntime.so"),
		Threads:  set.Int("threads", 1, "threads that compute one request; 0: all processors"),
		Cache: node.Config{
			DeviceBudget:  set.Bytes("device_budget", 0, "bytes of models on the device; 0: 4/10 of the memory"),
			HostBudget:    set.Bytes("host_budget", 0, "bytes of models in host memory; 0: 4/10 of the memory"),
			StoreQuota:    set.Bytes("store_quota", 16<<30, "bytes of model files on disk"),
			Listen:        set.String("listen", node.Off, "address of the cache manager's Open Inference Protocol beside its socket"),
			MetricsListen: set.String("metrics_listen", node.Off, "address of the cache manager's metrics"),
		},
		StopTimeout: set.Duration("stop_timeout", 30*time.Second, "time that functions have to stop"),
		Path:        set.String("PATH", "/usr/local/bin:/usr/bin:/bin", "folders where functions find programs of this machine"),
		ToolsPath:   set.String("tools_path", "", "folders that the env file puts first on the PATH"),
		Source:      set.String("FAAS_GPU_SOURCE", "", "checkout that Go functions are built against"),
		Watchdog:    set.String("FAAS_GPU_WATCHDOG", "", "program fwatchdog, for functions in other languages"),
	}
}

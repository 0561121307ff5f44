package runtimetest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/faas-gpu/faas-gpu/internal/logline"
	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// ReplicaVariable is set in the environment of the suite's image; its program
// then runs Replica.
const ReplicaVariable = "RUNTIMETEST_REPLICA"

// Variables of a deployment that change what its replicas do.
const (
	variableVersion = "version" // answered by GET /version
	variableReady   = "ready"   // "never": /_/ready answers 503; "health": 404, as old watchdogs do
	variableExit    = "exit"    // the status to exit with at once
	variableTerm    = "term"    // "ignore": do not stop when asked to
	variableChild   = "child"   // "yes": start a process in a group of its own
)

// Replica is the program of the suite's image: a watchdog and function that do
// what the suite asks them for. It does not return.
func Replica() {
	if os.Getenv(variableTerm) == "ignore" {
		signal.Ignore(syscall.SIGTERM)
	}
	say("starting version " + os.Getenv(variableVersion))
	if status, err := strconv.Atoi(os.Getenv(variableExit)); err == nil {
		fmt.Fprintln(os.Stderr, "gives up at once")
		syscall.Exit(status) // os.Exit of a test with coverage writes a line of its own
	}
	if os.Getenv(variableChild) == "yes" {
		child := exec.Command("/bin/sleep", "1000")
		child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := child.Start(); err != nil {
			fatal(err)
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("bind"), os.Getenv("port")))
	if err != nil {
		fatal(err)
	}
	fatal(http.Serve(l, routes()))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// say writes a line as a watchdog does: with the time if it is told a log file.
func say(text string) {
	line := []byte(text + "\n")
	if os.Getenv("log_file") != "" {
		line = logline.Append(nil, time.Now(), text)
	}
	if _, err := os.Stdout.Write(line); err != nil {
		fatal(err)
	}
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_/ready", func(w http.ResponseWriter, r *http.Request) {
		switch os.Getenv(variableReady) {
		case "never":
			http.Error(w, "model m is not there", http.StatusServiceUnavailable)
		case "health":
			http.NotFound(w, r)
		}
	})
	mux.HandleFunc("GET /_/health", func(http.ResponseWriter, *http.Request) {})
	// life tells one process from the next.
	life := rand.Text()
	mux.HandleFunc("GET /life", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, life) })
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getenv(variableVersion)) })
	mux.HandleFunc("GET /environment", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(os.Environ()); err != nil {
			fatal(err)
		}
	})
	mux.HandleFunc("GET /secret/{name}", serveSecret)
	mux.HandleFunc("POST /say/{text}", func(_ http.ResponseWriter, r *http.Request) { say(r.PathValue("text")) })
	mux.HandleFunc("POST /die", func(http.ResponseWriter, *http.Request) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			fatal(err)
		}
		syscall.Exit(128 + int(syscall.SIGKILL)) // the first process of a container does not die of its own signals
	})
	return mux
}

// serveSecret answers a secret's mode and value.
func serveSecret(w http.ResponseWriter, r *http.Request) {
	dir := os.Getenv("secret_mount_path")
	if dir == "" {
		dir = "/var/openfaas/secrets"
	}
	name := filepath.Join(dir, filepath.Base(r.PathValue("name")))
	value, err := os.ReadFile(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	info, err := os.Stat(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	fmt.Fprintf(w, "%v %s", info.Mode(), value)
}

// Token is a runtime.TokenSource: the suite expects its tokens in replicas.
func Token(id runtime.ID, revision string) (runtime.Token, error) {
	return runtime.Token{Value: []byte("token of " + id.String() + " " + revision), Expires: time.Now().Add(time.Hour)}, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// prepare makes the folder, the models, and the answers that are right.
func (d *demo) prepare(context.Context) (err error) {
	work := filepath.Join(d.cfg.dir, "functions")
	if err := emptyFolder(d.cfg.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	if d.log, err = os.Create(filepath.Join(d.cfg.dir, "faas-cli.log")); err != nil {
		return err
	}
	// git refuses to clone a checkout that belongs to somebody else, which it may
	// where this runs in a container.
	gitConfig := filepath.Join(d.cfg.dir, "gitconfig")
	if err := os.WriteFile(gitConfig, fmt.Appendf(nil, "[safe]\n\tdirectory = %q\n", "*"), 0o644); err != nil {
		return err
	}
	d.cli = &cli{
		program: d.cfg.cli, dir: work, out: d.out, log: d.log,
		environ: append(os.Environ(), "GIT_CONFIG_GLOBAL="+gitConfig),
	}
	if d.functions, err = newFunctions(d.cfg.seed); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "Computing what %d functions should answer, with ONNX Runtime alone.\n", len(d.functions))
	return answer(d.cfg.library, d.functions)
}

// marker is in every folder that the demo has made.
const marker = ".faas-gpu-demo"

// emptyFolder makes an empty folder for the demo. One that has files which are
// not the demo's is left alone.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return fmt.Errorf("%s holds files that are not the demo's: set demo_dir to a folder of its own", dir)
		}
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, marker), nil, 0o644)
}

// start starts the stack and logs in.
func (d *demo) start(ctx context.Context) (err error) {
	d.say("Starting the embedded stack: %v for models on the device, %v in the host pool.", d.cfg.deviceBudget, d.cfg.hostBudget)
	if d.stack, err = startStack(ctx, d.cfg); err != nil {
		return err
	}
	d.cli.envFile = d.stack.envFile
	url, err := d.cli.env(ctx, "OPENFAAS_URL")
	if err != nil {
		return err
	}
	passwordFile := filepath.Join(filepath.Dir(d.stack.envFile), "basic-auth-password")
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return err
	}
	d.gateway = &gateway{url: url, password: strings.TrimSpace(string(password)), http: &http.Client{Transport: &http.Transport{}}}
	fmt.Fprintf(d.out, "It serves at %s. The same stack for your own functions: make up\n\n", url)
	if _, err = d.cli.runWith(ctx, containing("credentials saved"), "login --password-stdin", "< "+d.short(passwordFile), password); err != nil {
		return err
	}
	_, err = d.cli.run(ctx, all, "ready")
	return err
}

// short is a path as one would type it in the folder of the functions.
func (d *demo) short(p string) string {
	if rel, err := filepath.Rel(d.cli.dir, p); err == nil {
		return rel
	}
	return p
}

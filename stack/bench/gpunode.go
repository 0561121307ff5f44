package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// gpuNode is a cache manager with functions that own plans.
type gpuNode struct {
	dir       string
	process   *lab.Process
	functions []*gpuFunction
	provider  *api.Client
}

// gpuFunction is a function as the cache manager knows it.
type gpuFunction struct {
	token  string
	client *api.Client
	offer  api.OfferRequest
	files  map[string]string // path by digest
}

// gpuModel is a plan of a function.
type gpuModel struct {
	function *gpuFunction
	name     string
	size     int64
}

// modelsPerFunction is below what a node takes from one function.
const modelsPerFunction = 200

// startNode starts a cache manager that allows these bytes on the device.
func startNode(ctx context.Context, o gpuOptions, budget int64, environ ...string) (*gpuNode, error) {
	dir, err := os.MkdirTemp(o.dir, "gpu-")
	if err != nil {
		return nil, err
	}
	n := &gpuNode{dir: dir}
	if err := n.start(ctx, o, budget, environ); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *gpuNode) start(ctx context.Context, o gpuOptions, budget int64, environ []string) error {
	if err := token.GenerateKeys(n.dir); err != nil {
		return err
	}
	all := append(os.Environ(),
		"engine=tensorrt", "gpushim_library="+o.library, "gpushim_settings="+o.settings,
		"onnxruntime_library="+o.onnxruntime, "allow_plans=true", "cpu_fallback=false", "engine_builder=off",
		"listen=off", "metrics_listen=127.0.0.1:0", "socket_dir="+n.dir,
		"store_path="+filepath.Join(n.dir, "store"), "store_quota=200Gi",
		"token_public_key="+filepath.Join(n.dir, token.PublicFile),
		"device_budget="+strconv.FormatInt(budget, 10),
	)
	probe, err := n.client("")
	if err != nil {
		return err
	}
	defer probe.Close()
	n.process, err = lab.StartProcess(ctx, o.cachemgrd, append(all, environ...), filepath.Join(n.dir, "log"),
		func(ctx context.Context) error {
			_, err := probe.ServerMetadata(ctx)
			return err
		})
	if err != nil {
		return err
	}
	key, err := token.LoadPrivate(filepath.Join(n.dir, token.KeyFile))
	if err != nil {
		return err
	}
	raw, _, err := token.NewSigner(key, time.Now).Provider(time.Hour)
	if err == nil {
		n.provider, err = n.client(raw)
	}
	return err
}

func (n *gpuNode) client(raw string) (*api.Client, error) {
	return api.NewClient(api.ClientConfig{
		Address: filepath.Join(n.dir, api.SocketOIP), Token: func() string { return raw },
	})
}

// close stops the cache manager and removes what it stored.
func (n *gpuNode) close() error {
	var errs []error
	if n.process != nil {
		errs = append(errs, n.process.Stop())
	}
	for _, f := range n.functions {
		f.client.Close()
	}
	if n.provider != nil {
		n.provider.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(n.dir))...)
}

// fail adds the end of the cache manager's output to an error.
func (n *gpuNode) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; the cache manager's last output:\n%s", err, n.process.Tail())
}

// offer makes functions that own the plans.
func (n *gpuNode) offer(ctx context.Context, paths []string) ([]*gpuModel, error) {
	return n.offerFormat(ctx, paths, "plan")
}

func (n *gpuNode) offerFormat(ctx context.Context, paths []string, format string) ([]*gpuModel, error) {
	key, err := token.LoadPrivate(filepath.Join(n.dir, token.KeyFile))
	if err != nil {
		return nil, err
	}
	signer := token.NewSigner(key, time.Now)
	offers, err := describeFiles(ctx, paths, format)
	if err != nil {
		return nil, err
	}
	models := make([]*gpuModel, len(paths))
	for i := range paths {
		if i%modelsPerFunction == 0 {
			ref := api.FunctionRef{Namespace: "bench", Name: fmt.Sprintf("gpu-%02d", len(n.functions)), UID: "1"}
			raw, _, err := signer.Function(ref, time.Hour)
			if err != nil {
				return nil, err
			}
			client, err := n.client(raw)
			if err != nil {
				return nil, err
			}
			n.functions = append(n.functions, &gpuFunction{token: raw, client: client, files: map[string]string{}})
		}
		f := n.functions[len(n.functions)-1]
		offers[i].Name = fmt.Sprintf("m%04d", i)
		f.offer.Models = append(f.offer.Models, offers[i])
		f.files[offers[i].Digest] = paths[i]
		models[i] = &gpuModel{function: f, name: offers[i].Name, size: offers[i].Size}
	}
	return models, n.offerAgain(ctx)
}

// offerAgain does what each function does when the cache manager has started.
func (n *gpuNode) offerAgain(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	for _, f := range n.functions {
		work.Go(func() error { return f.offerAll(ctx) })
	}
	return work.Wait()
}

func (f *gpuFunction) offerAll(ctx context.Context) error {
	answers, err := f.client.Offer(ctx, f.offer, func(o api.Offer) (api.File, error) { return os.Open(f.files[o.Digest]) })
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Error != "" {
			return fmt.Errorf("%s: %s", f.files[a.Digest], a.Error)
		}
	}
	return nil
}

// describeFiles are offers of files, without their names.
func describeFiles(ctx context.Context, paths []string, format string) ([]api.Offer, error) {
	offers := make([]api.Offer, len(paths))
	work, _ := errgroup.WithContext(ctx)
	work.SetLimit(runtime.NumCPU())
	for i, path := range paths {
		work.Go(func() error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			sum := sha256.New()
			size, err := io.Copy(sum, f)
			offers[i] = api.Offer{Version: "1", Format: format, Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Size: size}
			return err
		})
	}
	return offers, work.Wait()
}

// device is what the node says of its device now.
func (n *gpuNode) device(ctx context.Context) (api.DeviceStatus, error) {
	s, err := n.functions[0].client.Cache(ctx)
	if err != nil {
		return api.DeviceStatus{}, err
	}
	if len(s.Devices) == 0 {
		return api.DeviceStatus{}, errors.New("the node names no device")
	}
	return s.Devices[0], nil
}

package run

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/watchdog/attach"
	"github.com/faas-gpu/faas-gpu/watchdog/config"
	"github.com/faas-gpu/faas-gpu/watchdog/models"
	"github.com/prometheus/client_golang/prometheus"
)

// functionModels are the function's models and their way to the cache manager.
type functionModels struct {
	*attach.Attachment
	*attach.Proxy
	client *api.Client
	shared *shm.Client
	child  *cacheChild // nil: the cache manager is the node's
}

// startModels reads the model folder and begins to offer what is in it. A
// function without models gets nil, and nothing is asked of a cache manager.
func (w *watchdog) startModels(ctx context.Context, registry prometheus.Registerer) (*functionModels, error) {
	folder, err := models.Read(w.ModelsPath)
	if err != nil {
		return nil, err
	}
	folder.Digests(ctx, filepath.Join(w.TempDir, "faas-gpu-digests.json"))
	for _, warning := range folder.Warnings {
		w.out.log.Warn(warning)
	}
	for _, problem := range folder.Problems {
		w.out.log.Error("a model cannot be used, the function will not be ready", "reason", problem)
	}
	if err := w.checkSelections(folder); err != nil {
		return nil, err
	}
	if len(folder.Models) == 0 && len(folder.Problems) == 0 {
		return nil, nil
	}
	token := attach.NewTokenFile(w.TokenFile()).Token
	m := &functionModels{}
	if m.client, err = api.NewClient(api.ClientConfig{Address: w.CacheSocket, Token: token}); err != nil {
		return nil, err
	}
	if w.CacheMode == config.ModeChild {
		if m.child, err = w.startCacheChild(); err != nil {
			return nil, err
		}
	}
	m.shared = shm.NewClient(m.client, shm.Options{
		Socket: filepath.Join(filepath.Dir(w.CacheSocket), api.SocketShm), Token: token,
		Limit: w.SharedMemory, Log: w.out.log,
	})
	m.Attachment = attach.New(attach.Options{
		Client: m.shared, Models: folder, Preload: w.Preload.Has, Pin: w.Pin.Has, Control: w.ModelControl,
		Wait: w.CacheWait, Log: w.out.log, Registry: registry,
	})
	m.Proxy = attach.NewProxy(m.Attachment, w.CacheSocket, token)
	return m, nil
}

// checkSelections finds models that are to be preloaded or pinned and are not
// there. One that is there and broken is reported as that.
func (w *watchdog) checkSelections(folder *models.Folder) error {
	if len(folder.Problems) > 0 {
		return nil
	}
	for variable, selection := range map[string]config.Selection{"preload": w.Preload, "pin": w.Pin} {
		for _, name := range selection.Names {
			if !slices.Contains(folder.Names(), name) {
				return fmt.Errorf("%s: the function has no model %q; it has %q", variable, name, folder.Names())
			}
		}
	}
	return nil
}

// close lets go of the cache manager, and ends it if it is a child.
func (m *functionModels) close(force <-chan struct{}) {
	if m == nil {
		return
	}
	m.Attachment.Close()
	m.Proxy.Close()
	m.shared.Close()
	m.client.Close()
	if m.child != nil {
		m.child.stop(force)
	}
}

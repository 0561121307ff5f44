package lab

import (
	"context"
	"path/filepath"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/token"
)

// NodeStatus asks the cache manager for a full snapshot, with the provider's key.
func (l *Lab) NodeStatus(ctx context.Context) (*api.NodeStatus, error) {
	key, err := token.LoadPrivate(filepath.Join(l.Dir, "keys", "token.key"))
	if err != nil {
		return nil, err
	}
	raw, _, err := token.NewSigner(key, time.Now).Provider(time.Minute)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(api.ClientConfig{Address: l.Socket, Token: func() string { return raw }})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first *api.NodeStatus
	err = client.WatchStatus(ctx, func(s api.NodeStatus) {
		if first == nil {
			first = &s
			cancel()
		}
	})
	if first != nil {
		return first, nil
	}
	return nil, err
}

// Held is how many bytes a node counts for models, in host memory and on all
// devices.
func Held(s *api.NodeStatus) int64 {
	held := s.Host.Used
	for _, d := range s.Devices {
		held += d.Resident + d.Loading + d.Draining + d.Residual
	}
	return held
}

package cachemgr

import (
	"context"
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// budgeted is a device with what may be taken of it.
type budgeted struct {
	engine.Device
	budget int64
}

// devices asks the engine for its devices, and holds it to their budgets.
func (c Config) devices(ctx context.Context) ([]budgeted, error) {
	found, err := c.Engine.Devices(ctx)
	if err != nil {
		return nil, fmt.Errorf("devices of %s: %w", c.Engine.Name(), err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no device: %w", c.Engine.Name(), engine.ErrUnavailable)
	}
	limiter, limits := c.Engine.(engine.Limiter)
	var all []budgeted
	for _, d := range found {
		budget := c.DeviceBudget(d)
		if budget <= 0 {
			return nil, fmt.Errorf("budget of device %s is %d bytes, must be positive", d.ID, budget)
		}
		if limits {
			if err := limiter.Limit(d.ID, budget); err != nil {
				return nil, err
			}
			if d, err = readDevice(ctx, c.Engine, d.ID); err != nil { // its overhead has changed
				return nil, err
			}
		}
		all = append(all, budgeted{d, budget})
	}
	return all, nil
}

// readDevice asks an engine how a device is now.
func readDevice(ctx context.Context, e engine.Engine, id engine.DeviceID) (engine.Device, error) {
	found, err := e.Devices(ctx)
	if err != nil {
		return engine.Device{}, err
	}
	for _, d := range found {
		if d.ID == id {
			return d, nil
		}
	}
	return engine.Device{}, fmt.Errorf("%s is no longer listed: %w", id, engine.ErrDeviceLost)
}

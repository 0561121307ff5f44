package variant

import (
	"errors"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/engine"
)

// lossRetry is how long a caller is told to wait after a GPU was lost.
const lossRetry = 5 * time.Second

// Lost is closed when the GPUs were lost: this process gets them back no more.
func (r *Router) Lost() <-chan struct{} { return r.lost }

// noteLoss looks whether an error of the GPUs' manager means that.
func (r *Router) noteLoss(err error) {
	if !errors.Is(err, engine.ErrDeviceLost) || !r.loss.CompareAndSwap(nil, &err) {
		return
	}
	r.cfg.Log.Error("GPU lost: this process cannot use it any more", "error", err)
	close(r.lost)
	r.board.touch()
}

func (r *Router) node() node {
	return node{cpu: r.cfg.CPU != nil, gpu: r.cfg.GPU != nil && r.loss.Load() == nil}
}

// lossError is what requests get that only a GPU could answer, once it was lost.
func (r *Router) lossError() error {
	if why := r.loss.Load(); why != nil {
		return &cachemgr.FailedError{Reason: *why, RetryAt: time.Now().Add(lossRetry)}
	}
	return nil
}

package node

import (
	"github.com/faas-gpu/faas-gpu/cachemgr"
	"github.com/faas-gpu/faas-gpu/cachemgr/policy"
	"github.com/faas-gpu/faas-gpu/cachemgr/queue"
)

// Values of Config.QueuePolicy.
const (
	PolicySLO  = "slo"
	PolicyRRC  = "rrc"
	PolicyFIFO = "fifo"
)

// Values of Config.Eviction.
const (
	EvictGDSF   = "gdsf"
	EvictTorpor = "torpor"
	EvictLRU    = "lru"
)

// choosePolicies sets what a manager orders by. The defaults are the manager's.
func (c Config) choosePolicies(m *cachemgr.Config) {
	switch c.QueuePolicy {
	case PolicyRRC:
		m.Queue = func(b *queue.Book) queue.Policy { return queue.NewRRC(b) }
	case PolicyFIFO:
		m.Queue = func(*queue.Book) queue.Policy { return queue.FIFO{} }
	}
	switch c.Eviction {
	case EvictTorpor:
		m.Policy = func() policy.Order { return policy.NewTwoLists() }
	case EvictLRU:
		m.Policy = func() policy.Order { return policy.NewLRU() }
	}
}

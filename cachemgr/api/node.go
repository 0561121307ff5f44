package api

import "time"

// State of a model on a device.
type State string

const (
	StateAbsent   State = "absent"   // known, on disk only
	StateBuilding State = "building" // its engine is being built
	StateStaged   State = "staged"   // in the host pool
	StateLoading  State = "loading"  // on its way to the device
	StateResident State = "resident" // ready to run
	StateDraining State = "draining" // resident, takes no new request, leaves when the last is done
	StateParked   State = "parked"   // deserialized, weights not on the device
	StateFailed   State = "failed"   // see Reason and RetryAt
)

// FunctionRef names a deployment of a function. UID tells one deployment of a
// name from the next.
type FunctionRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// NodeStatus is one message of the status stream (NDJSON): the first is a full
// snapshot, every later one holds what changed since the one before, or is a full
// one again for a reader that fell far behind. A change is told 5 ms after it
// came, with all that came meanwhile.
type NodeStatus struct {
	// Generation counts changes since Epoch; a delta applies to Generation-1.
	Generation uint64 `json:"generation"`
	// Epoch names this run of the cache manager; it changes at a restart.
	Epoch string `json:"epoch"`
	Full  bool   `json:"full,omitempty"`
	Node  string `json:"node"`

	Devices []DeviceStatus `json:"devices,omitempty"` // those that changed
	Models  []ModelStatus  `json:"models,omitempty"`  // those that changed, whole
	Gone    []string       `json:"gone,omitempty"`    // digests that are no longer known
	Host    *PoolStatus    `json:"host,omitempty"`
}

// DeviceStatus is a device with its byte ledger. Budget >= Resident + Loading +
// Draining + Residual at all times, and Reserved as soon as models have made room.
type DeviceStatus struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Engine   string `json:"engine"`
	Total    int64  `json:"total_bytes"`
	Budget   int64  `json:"budget_bytes"`
	Resident int64  `json:"resident_bytes"`
	Loading  int64  `json:"loading_bytes"`
	Draining int64  `json:"draining_bytes"`
	Residual int64  `json:"residual_bytes"`
	Reserved int64  `json:"reserved_bytes,omitempty"` // for the engine builder
	Overhead int64  `json:"overhead_bytes,omitempty"` // of the engine, for all models together
	Kept     int64  `json:"kept_bytes,omitempty"`     // by the engine for the next model; no model's now
	Running  int    `json:"running"`                  // requests that compute now
	Queued   int    `json:"queued"`                   // requests that wait for the device or for bytes
	Slots    int    `json:"slots"`                    // requests that may compute at once
}

// PoolStatus is the host pool of a node.
type PoolStatus struct {
	Budget int64 `json:"budget_bytes"`
	Used   int64 `json:"used_bytes"`
}

// ModelStatus is one model file on a node. Equal files are one model, whoever
// brought them.
type ModelStatus struct {
	Digest    string           `json:"digest"`
	Size      int64            `json:"size_bytes"` // of the file
	Names     []ModelName      `json:"names"`      // who calls it what
	Staged    bool             `json:"staged"`
	Pinned    bool             `json:"pinned,omitempty"`
	Estimated bool             `json:"estimated"` // Bytes is a guess from the file
	Bytes     int64            `json:"resident_bytes"`
	StageNs   int64            `json:"stage_ns,omitempty"` // time that it took to stage it last; 0 unless Staged
	Instances []InstanceStatus `json:"instances"`          // by device, only those that are not absent
	Stats     CacheStats       `json:"stats"`
}

// ModelName is what a function calls a model.
type ModelName struct {
	Function FunctionRef `json:"function"`
	Name     string      `json:"name"`
	Version  string      `json:"version"`
	SLO      string      `json:"slo,omitempty"` // of its model.yaml, a Go duration
}

// InstanceStatus is a model on a device, and what it cost there.
type InstanceStatus struct {
	Device  string `json:"device"`
	State   State  `json:"state"`
	Running int    `json:"running"`
	Reason  string `json:"reason,omitempty"`   // of StateFailed
	RetryAt string `json:"retry_at,omitempty"` // RFC 3339, of StateFailed

	SwapNs    int64 `json:"swap_ns,omitempty"`    // time that its last Load here took
	SwapBytes int64 `json:"swap_bytes,omitempty"` // that this Load brought
	Runs      int64 `json:"runs,omitempty"`       // requests computed here without an error, total
	ComputeNs int64 `json:"compute_ns,omitempty"` // time spent in those, total
}

// CacheStats counts requests by what they found, and what happened to the model.
type CacheStats struct {
	Hits      int64  `json:"hits"`      // requests that found it resident
	Swaps     int64  `json:"swaps"`     // requests that waited for the host pool
	Loads     int64  `json:"loads"`     // requests that waited for the disk
	Failures  int64  `json:"failures"`  // requests that got an error after admission
	Evictions int64  `json:"evictions"` // times it left a device
	SwapNs    int64  `json:"swap_ns"`   // time spent in Load, total
	SwapBytes int64  `json:"swap_bytes"`
	ComputeNs int64  `json:"compute_ns"`          // time spent in Run, total
	LastUsed  string `json:"last_used,omitempty"` // RFC 3339
}

// CacheStatus answers GET /v2/faas-gpu/cache, and GET /_/cache of a watchdog.
type CacheStatus struct {
	Node    string         `json:"node"`
	Epoch   string         `json:"epoch"`
	Devices []DeviceStatus `json:"devices"`
	Host    PoolStatus     `json:"host"`
	Models  []ModelStatus  `json:"models"` // the caller's own; Names holds the caller's names only
}

// PrefetchRequest asks for a model to be made resident, without waiting.
type PrefetchRequest struct {
	Digest string `json:"digest"`
	Device string `json:"device,omitempty"` // a hint
}

// References is the full set of functions that exist, with a generation that
// grows with every change and never goes back. Models of functions that are not
// in it are forgotten, and their bytes may be deleted.
type References struct {
	Generation uint64 `json:"generation"`
	// At is when the provider read the set, by its own clock, and before it read
	// it. A function whose token was minted later than that is not missing from
	// the set, it is newer: a set that was long under way deletes nothing of it.
	At        time.Time     `json:"at"`
	Functions []FunctionRef `json:"functions"`
}

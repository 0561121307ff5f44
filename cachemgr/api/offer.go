package api

import (
	"fmt"
	"reflect"
	"time"
)

// OfferRequest is what a watchdog says at start, and again whenever the cache
// manager's epoch has changed: the full set of its function's models.
type OfferRequest struct {
	Models []Offer `json:"models"`
}

// Offer is one version of one model.
type Offer struct {
	Name    string      `json:"name"`
	Version string      `json:"version"` // a positive number
	Format  string      `json:"format"`  // "onnx" or "plan"
	Digest  string      `json:"digest"`  // "sha256:" and 64 hexadecimal digits
	Size    int64       `json:"size_bytes"`
	Preload bool        `json:"preload,omitempty"`
	Pin     bool        `json:"pin,omitempty"`
	Config  ModelConfig `json:"config"`
}

// ModelConfig is models/<name>/model.yaml.
type ModelConfig struct {
	SLO      string  `json:"slo,omitempty" yaml:"slo"`           // a Go duration
	Accuracy float64 `json:"accuracy,omitempty" yaml:"accuracy"` // 0 to 1, as measured by the owner
	// Precisions are those that may compute it on a GPU, the preferred one first:
	// PrecisionFP16, PrecisionFP32.
	Precisions []string `json:"precisions,omitempty" yaml:"precisions"`
	// MaxBatch is the largest first dimension of a request, where that is dynamic,
	// for which an engine is built; 0 leaves it to the node.
	MaxBatch int    `json:"max_batch,omitempty" yaml:"max_batch"`
	Fallback string `json:"fallback,omitempty" yaml:"fallback"` // FallbackCPU, FallbackWait, FallbackRefuse
}

// What happens to a request while no GPU can answer it.
const (
	FallbackCPU    = "cpu"    // the CPU does, and the response names the engine
	FallbackWait   = "wait"   // it waits, as long as requests may
	FallbackRefuse = "refuse" // it is refused, and told when to come again
)

// Precisions in which a model can be computed.
const (
	PrecisionFP16 = "fp16"
	PrecisionFP32 = "fp32"
)

// Equal reports whether two offers say the same.
func (o Offer) Equal(p Offer) bool { return reflect.DeepEqual(o, p) }

// Objective is the SLO as a duration, zero where there is none.
func (c ModelConfig) Objective() (time.Duration, error) {
	if c.SLO == "" {
		return 0, nil
	}
	slo, err := time.ParseDuration(c.SLO)
	if err != nil || slo <= 0 {
		return 0, fmt.Errorf(`slo %.40q is not a duration such as "80ms"`, c.SLO)
	}
	return slo, nil
}

// OfferResponse answers every offer, in order.
type OfferResponse struct {
	Epoch  string    `json:"epoch"`
	Models []Offered `json:"models"`
}

// Offered says what has to happen before a model can be used. The caller must
// show that it has the bytes, not only their digest: otherwise a digest would
// be enough to use another function's model.
type Offered struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
	// Need is "" (the model is registered), NeedProof or NeedUpload.
	Need string `json:"need"`
	// Nonce is the challenge of NeedProof, base64. It is good for one Proof.
	Nonce string `json:"nonce,omitempty"`
	// Error says why this model is refused; Need is "" then.
	Error string `json:"error,omitempty"`
}

const (
	// NeedProof: the node has the bytes and wants a Proof that the caller has
	// them too.
	NeedProof = "proof"
	// NeedUpload: the node has not the bytes. After the upload the caller offers
	// its models again, and is then asked for a proof as everybody is.
	NeedUpload = "upload"
)

// Proof answers a challenge, see ProofOfPossession.
type Proof struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
	Nonce   string `json:"nonce"`
	SHA256  string `json:"sha256"` // hexadecimal
}

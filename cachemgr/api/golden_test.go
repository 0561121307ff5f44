package api

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

const (
	digitsDigest = "sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"
	resnetDigest = "sha256:dbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986"
)

// golden are examples of every message of this package, as it is on the wire: a
// change of the wire format shows as a change of a file in testdata.
func golden() map[string]any {
	digits := FunctionRef{Namespace: "openfaas-fn", Name: "digits", UID: "6f1d8a52"}
	resnet := FunctionRef{Namespace: "openfaas-fn", Name: "resnet", UID: "b05c1e77"}
	cpu := DeviceStatus{
		ID: "cpu", Name: "CPU (2 threads)", Kind: "cpu", Engine: "onnxruntime",
		Total: 8 << 30, Budget: 256 << 20, Resident: 1 << 20, Loading: 120 << 20, Running: 1, Queued: 2, Slots: 2,
	}
	digitsModel := ModelStatus{
		Digest: digitsDigest, Size: 40960, Names: []ModelName{{Function: digits, Name: "digits", Version: "1", SLO: "80ms"}},
		Staged: true, Pinned: true, Estimated: true, Bytes: 1 << 20, StageNs: 1_500_000,
		Instances: []InstanceStatus{{Device: "cpu", State: StateResident, Running: 1, SwapNs: 2_500_000, SwapBytes: 1 << 20, Runs: 42, ComputeNs: 9_000_000}},
		Stats:     CacheStats{Hits: 41, Loads: 1, SwapNs: 2_500_000, SwapBytes: 1 << 20, ComputeNs: 9_000_000, LastUsed: "2030-01-02T03:04:05.678Z"},
	}
	failed := ModelStatus{
		Digest: resnetDigest, Size: 102 << 20, Names: []ModelName{{Function: resnet, Name: "resnet50", Version: "2"}},
		Bytes:     120 << 20,
		Instances: []InstanceStatus{{Device: "cpu", State: StateFailed, Reason: "not enough memory", RetryAt: "2030-01-02T03:04:35Z"}},
		Stats:     CacheStats{Failures: 1},
	}
	return map[string]any{
		"status_full.json": &NodeStatus{
			Generation: 12, Epoch: "0190a5c2", Full: true, Node: "edge-1",
			Devices: []DeviceStatus{cpu}, Models: []ModelStatus{digitsModel, failed}, Host: &PoolStatus{Budget: 512 << 20, Used: 41 << 10},
		},
		"status_delta.json": &NodeStatus{
			Generation: 13, Epoch: "0190a5c2", Node: "edge-1", Devices: []DeviceStatus{cpu}, Gone: []string{resnetDigest},
		},
		"cache.json": &CacheStatus{
			Node: "edge-1", Epoch: "0190a5c2", Devices: []DeviceStatus{cpu}, Host: PoolStatus{Budget: 512 << 20, Used: 41 << 10},
			Models: []ModelStatus{digitsModel},
		},
		"offer.json": &OfferRequest{Models: []Offer{
			{
				Name: "digits", Version: "1", Format: "onnx", Digest: digitsDigest, Size: 40960, Preload: true, Pin: true,
				Config: ModelConfig{SLO: "80ms", Accuracy: 0.98, MaxBatch: 8, Fallback: "cpu"},
			},
			{Name: "resnet50", Version: "2", Format: "onnx", Digest: resnetDigest, Size: 102 << 20},
		}},
		"offered.json": &OfferResponse{Epoch: "0190a5c2", Models: []Offered{
			{Name: "digits", Version: "1", Digest: digitsDigest},
			{Name: "resnet50", Version: "2", Digest: resnetDigest, Need: NeedProof, Nonce: "AAECAwQFBgcICQoLDA0ODw=="},
			{Name: "vgg16", Version: "1", Digest: resnetDigest, Need: NeedUpload},
			{Name: "plan", Version: "1", Digest: resnetDigest, Error: "this node takes no plans"},
		}},
		"proof.json": &Proof{
			Name: "resnet50", Version: "2", Digest: resnetDigest, Nonce: "AAECAwQFBgcICQoLDA0ODw==",
			SHA256: "be45cb2605bf36bebde684841a28f0fd43c69850a3dce5fedba69928ee3a8991",
		},
		"prefetch.json":   &PrefetchRequest{Digest: digitsDigest, Device: "cpu"},
		"references.json": &References{Generation: 7, At: time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.UTC), Functions: []FunctionRef{digits, resnet}},
	}
}

func TestGolden(t *testing.T) {
	for name, value := range golden() {
		t.Run(name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(value, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, '\n'); !bytes.Equal(got, want) {
				t.Errorf("the wire format has changed, it is now\n%s", got)
			}
			dec := json.NewDecoder(bytes.NewReader(want))
			dec.DisallowUnknownFields()
			back := reflect.New(reflect.TypeOf(value).Elem()).Interface()
			if err := dec.Decode(back); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, value) {
				t.Errorf("it is read as %+v", back)
			}
		})
	}
}

package modelgen

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

func write(t testing.TB, s Spec) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Digests of the files for these specs; a change of them changes every model
// that an installation made for itself.
func TestGoldenDigests(t *testing.T) {
	for _, c := range []struct {
		spec   Spec
		size   int
		digest string
	}{
		{Spec{Family: SqueezeNet, Seed: 1, Width: 0.25, Resolution: 32}, 730701, "3c8c4017cbf96dbd"},
		{Spec{Family: MobileNetV2, Seed: 1, Width: 0.25, Resolution: 32}, 1916772, "5ebc87084c272a1e"},
		{Spec{Family: ResNet18, Seed: 1, Width: 0.125, Resolution: 32}, 969456, "99e170bf22c0b2ea"},
		{Spec{Family: ResNet50, Seed: 1, Width: 0.125, Resolution: 32}, 2524121, "29592db4aa59431a"},
		{Spec{Family: VGG16, Seed: 1, Width: 0.125, Resolution: 32}, 4161967, "f87a24c0a6fef041"},
		{Spec{Family: Relu}, 135, "2e05f90c80c4db1f"},
		{Spec{Family: Scale, Seed: 1}, 170, "1dde0a75533b1455"},
		{Spec{Family: Endless}, 296, "8d656c7aa348a00b"},
		{Spec{Family: Huge}, 1814, "843324f3d8ce802e"},
	} {
		b := write(t, c.spec)
		if got := fmt.Sprintf("%x", sha256.Sum256(b))[:16]; got != c.digest || len(b) != c.size {
			t.Errorf("%+v: %d bytes %s, want %d bytes %s", c.spec, len(b), got, c.size, c.digest)
		}
	}
}

// At full width the files have the sizes of the published networks.
func TestSizesAreThoseOfTheNetworks(t *testing.T) {
	for family, parameters := range map[Family]int{
		SqueezeNet:  1_235_496,
		MobileNetV2: 3_487_816,
		ResNet18:    11_684_712,
		ResNet50:    25_530_472,
	} {
		var n countingWriter
		if err := Write(&n, Spec{Family: family, Seed: 1}); err != nil {
			t.Fatal(err)
		}
		const graph = 40_000 // bytes, at most, of everything that is no weight
		if got := int(n); got < 4*parameters || got > 4*parameters+graph {
			t.Errorf("%s has %d bytes, want 4 times %d parameters and at most %d more", family, got, parameters, graph)
		}
	}
}

type countingWriter int

func (n *countingWriter) Write(p []byte) (int, error) {
	*n += countingWriter(len(p))
	return len(p), nil
}

func TestSeedsDiffer(t *testing.T) {
	a := write(t, Spec{Family: SqueezeNet, Seed: 1, Width: 0.25, Resolution: 32})
	b := write(t, Spec{Family: SqueezeNet, Seed: 2, Width: 0.25, Resolution: 32})
	if len(a) != len(b) {
		t.Fatalf("%d and %d bytes", len(a), len(b))
	}
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	// Signs and exponents agree often; mantissas, two bytes of four, hardly ever.
	if same > len(a)/2 {
		t.Errorf("%d of %d bytes are equal", same, len(a))
	}
}

func TestWeightsHaveTheirDeviation(t *testing.T) {
	g := newGraph("one")
	g.random(0.5, 100, 101)
	var b bytes.Buffer
	if err := writeGraph(&b, g, 7); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()[b.Len()-4*100*101:]
	var sum, squares float64
	for i := 0; i < len(data); i += 4 {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(data[i:])))
		sum, squares = sum+v, squares+v*v
	}
	n := float64(len(data) / 4)
	if mean, std := sum/n, math.Sqrt(squares/n); math.Abs(mean) > 0.02 || math.Abs(std-0.5) > 0.02 {
		t.Errorf("mean %g and deviation %g, want 0 and 0.5", mean, std)
	}
}

func TestBadSpecs(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		says string
	}{
		{Spec{Family: "alexnet"}, `family "alexnet" is not one of [`},
		{Spec{Family: VGG16, Width: 5}, "width 5"},
		{Spec{Family: VGG16, Width: -1}, "width -1"},
		{Spec{Family: VGG16, Width: math.NaN()}, "width NaN"},
		{Spec{Family: VGG16, Resolution: 31}, "resolution 31"},
		{Spec{Family: VGG16, Resolution: 2000}, "resolution 2000"},
		{Spec{Family: VGG16, Batch: -2}, "batch -2"},
	} {
		err := Write(io.Discard, c.spec)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want an error that says %q", c.spec, err, c.says)
		}
	}
}

var errFull = errors.New("disk full")

type fullWriter struct{ room int }

func (f *fullWriter) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return 0, errFull
	}
	f.room -= len(p)
	return len(p), nil
}

func TestAFullDiskIsReported(t *testing.T) {
	for _, room := range []int{0, 1 << 17} {
		if err := Write(&fullWriter{room}, Spec{Family: SqueezeNet}); !errors.Is(err, errFull) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
	}
}

func BenchmarkResNet50(b *testing.B) {
	for b.Loop() {
		if err := Write(io.Discard, Spec{Family: ResNet50, Seed: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

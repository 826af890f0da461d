package embedder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"imgsearch/internal/kernel"
)

func normalInput(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 5))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// TestInferenceIsTheEncoder: with one set of weights after the other, on any number of threads.
func TestInferenceIsTheEncoder(t *testing.T) {
	const n = 37
	for name, a := range map[string]Architecture{"conv": convNet(), "front": frontNet(), "seed": SeedArchitecture()} {
		x := normalInput(1, n*3*a.InputSize*a.InputSize)
		for _, threads := range []int{1, 2, 5} {
			f, err := NewInference(a, InferenceOptions{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(3) {
				e := mustNew(t, a, seed)
				want, err := e.EmbedInput(context.Background(), x, 1)
				if err != nil {
					t.Fatal(err)
				}
				if err := f.SetWeights(e.weights); err != nil {
					t.Fatal(err)
				}
				got := make([]float32, n*f.Dim())
				f.Run(n, x, got)
				if !slices.Equal(got, want) {
					t.Fatalf("%s, %d threads, weights %d: not the encoder's embeddings", name, threads, seed)
				}
			}
		}
	}
}

// TestInferenceHead: a head behind a net is the net with longer layers.
func TestInferenceHead(t *testing.T) {
	a := frontNet()
	head := []Layer{{Kind: BatchNorm}, {Kind: ReLU}, {Kind: Linear, Out: 5, Bias: true}, {Kind: BatchNorm}}
	whole := a.Clone()
	whole.Layers = append(whole.Layers, head...)
	e := mustNew(t, whole, 4)
	weights := Weights{}
	for name, tensor := range e.weights {
		for i := range head {
			if rest, ok := strings.CutPrefix(name, fmt.Sprintf("layers.%d.", len(a.Layers)+i)); ok {
				name = fmt.Sprintf("head.%d.%s", i, rest)
			}
		}
		weights[name] = tensor
	}
	f, err := NewInference(a, InferenceOptions{Head: head, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetWeights(weights); err != nil {
		t.Fatal(err)
	}
	const n = 9
	x := normalInput(2, n*3*a.InputSize*a.InputSize)
	want, err := e.EmbedInput(context.Background(), x, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, n*f.Dim())
	f.Run(n, x, got)
	requireClose(t, "embeddings", got, want, 1e-5)
	if _, err := NewInference(a, InferenceOptions{Head: []Layer{{Kind: GlobalMean}}}); !errors.Is(err, ErrArchitecture) {
		t.Errorf("a head of images: error %v", err)
	}
}

func TestInferenceBFloat16(t *testing.T) {
	if !kernel.HasBF16() {
		t.Skip("the processor has no AVX512-BF16")
	}
	a := frontNet()
	e := mustNew(t, a, 6)
	const n = 50
	x := normalInput(3, n*3*a.InputSize*a.InputSize)
	want, err := e.EmbedInput(context.Background(), x, 1)
	if err != nil {
		t.Fatal(err)
	}
	var first []float32
	for _, threads := range []int{1, 2, 7} {
		f, err := NewInference(a, InferenceOptions{BFloat16: true, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.SetWeights(e.weights); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, n*f.Dim())
		f.Run(n, x, got)
		if first == nil {
			first = got
			requireClose(t, "embeddings", got, want, 0.03)
			if slices.Equal(got, want) {
				t.Error("nothing is rounded to bfloat16")
			}
		}
		if !slices.Equal(got, first) {
			t.Errorf("%d threads give other bits", threads)
		}
	}
}

// TestInferenceWeightsOutOfRange: what folding makes infinite is an error, and the next weights serve again.
func TestInferenceWeightsOutOfRange(t *testing.T) {
	a := convNet()
	e := mustNew(t, a, 1)
	f, err := NewInference(a, InferenceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bad := maps.Clone(e.weights)
	for name, tensor := range bad {
		if strings.HasSuffix(name, ".weight") {
			tensor = tensor.Clone()
			tensor.Data[0] = math.MaxFloat32
			bad[name] = tensor
		}
		if strings.HasSuffix(name, ".running_var") {
			tensor = tensor.Clone()
			clear(tensor.Data)
			bad[name] = tensor
		}
	}
	if err := f.SetWeights(bad); !errors.Is(err, ErrWeights) {
		t.Errorf("error %v, want ErrWeights", err)
	}
	if err := f.SetWeights(e.weights); err != nil {
		t.Fatal(err)
	}
	x := normalInput(2, 3*a.InputSize*a.InputSize)
	want, err := e.EmbedInput(context.Background(), x, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, f.Dim())
	if f.Run(1, x, got); !slices.Equal(got, want) {
		t.Error("not the encoder's embeddings")
	}
}

package training

import (
	"math/rand/v2"
	"testing"

	"imgsearch/embedder"
)

func testImages(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.Float64()*2 - 1)
	}
	return x
}

func BenchmarkSeedStep(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	a := embedder.SeedArchitecture()
	n, err := newNetwork(networkConfig{
		Architecture: a, Weights: embedder.InitWeights(a, rng),
		Loss:   LossOptions{Loss: LossTriplet, Miner: MinerRandom, Margin: 0.5},
		Groups: 1, Rows: 3, Threads: 1, Momentum: 0.9,
	})
	if err != nil {
		b.Fatal(err)
	}
	x := testImages(rng, 3*3*32*32)
	b.ReportAllocs()
	for b.Loop() {
		r, err := n.step(x, 0.001)
		if err != nil {
			b.Fatal(err)
		}
		_ = r
	}
}

package training

import (
	"fmt"
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

// n77 is a plain net of 77 MFLOP an image.
func n77() embedder.Architecture {
	a := embedder.Architecture{InputSize: 32, Std: [3]float32{1, 1, 1}}
	for _, c := range [][2]int{{32, 1}, {32, 1}, {64, 2}, {64, 1}, {128, 2}, {128, 1}} {
		a.Layers = append(a.Layers,
			embedder.Layer{Kind: embedder.Conv, Out: c[0], Kernel: 3, Stride: c[1], Pad: 1},
			embedder.Layer{Kind: embedder.BatchNorm}, embedder.Layer{Kind: embedder.ReLU})
	}
	a.Layers = append(a.Layers, embedder.Layer{Kind: embedder.GlobalMean},
		embedder.Layer{Kind: embedder.Linear, Out: 64, Bias: true}, embedder.Layer{Kind: embedder.L2Norm})
	return a
}

func BenchmarkStep(b *testing.B) {
	triplet := LossOptions{Loss: LossTriplet, Miner: MinerRandom, Margin: 0.5}
	for _, c := range []struct {
		name   string
		net    embedder.Architecture
		loss   LossOptions
		groups int
	}{
		{"seed-1-triplet", embedder.SeedArchitecture(), triplet, 1},
		{"seed-32-triplets", embedder.SeedArchitecture(), triplet, 32},
		{"n77-64-pairs", n77(), LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}, 64},
	} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", c.name, threads), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 2))
				n, err := newNetwork(networkConfig{
					Architecture: c.net, Weights: embedder.InitWeights(c.net, rng), Loss: c.loss,
					Groups: c.groups, Rows: c.loss.rows(), Threads: threads, Momentum: 0.9, Nesterov: c.groups == 64,
				})
				if err != nil {
					b.Fatal(err)
				}
				defer n.close()
				x := testImages(rng, n.input.len())
				b.ReportAllocs()
				for b.Loop() {
					if _, err := n.step(x, 1e-4); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n.batch)*float64(b.N)/b.Elapsed().Seconds(), "images/s")
			})
		}
	}
}

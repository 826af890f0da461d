package training

import (
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/embedder"
)

// TestBatchNormCollects: sums that are taken while a convolution works are those that are taken afterwards, bit for bit.
func TestBatchNormCollects(t *testing.T) {
	defer func(v int) { passValues = v }(passValues)
	a := n77()
	a.InputSize = 16
	var first embedder.Weights
	for _, values := range []int{1 << 30, 1 << 12, 1} {
		passValues = values
		n := mustNetwork(t, networkConfig{
			Architecture: a, Weights: embedder.InitWeights(a, rand.New(rand.NewPCG(1, 2))),
			Loss: LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}, Groups: 10, Rows: 2, Threads: 2, Momentum: 0.9,
		})
		listening := 0
		for _, o := range n.graph.operations {
			if o.onImages != nil {
				listening++
			}
		}
		if listening != 11 { // six batch normalisations, five of them with a convolution behind
			t.Fatalf("%d sums are taken by the way, want 11", listening)
		}
		x := testImages(rand.New(rand.NewPCG(3, 4)), n.inputLen())
		for range 3 {
			if _, err := n.step(x, 0.05); err != nil {
				t.Fatal(err)
			}
		}
		w := n.weights()
		if first == nil {
			first = w
		}
		for name, tensor := range w {
			if !slices.Equal(tensor.Data, first[name].Data) {
				t.Fatalf("passes of %d values: %s differs", values, name)
			}
		}
	}
}

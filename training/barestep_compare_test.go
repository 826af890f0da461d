package training

import (
	"slices"
	"testing"

	"imgsearch/embedder"
)

// TestBareStepCompares: what Tensors hands out makes the steps that Losses tells of.
func TestBareStepCompares(t *testing.T) {
	o := BareStepOptions{
		Architecture: miniNet(16), Head: []embedder.Layer{{Kind: embedder.Linear, Out: 3, Bias: true}},
		Loss: LossOptions{Loss: LossNTXent, Temperature: 0.5}, Groups: 3, Threads: 1, Momentum: 0.9, Seed: 5,
	}
	b, err := NewBareStep(o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	tensors := b.Tensors()
	losses, err := b.Losses(3, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	input := tensors["input"]
	delete(tensors, "input")
	if want := []int{6, 3, 16, 16}; !slices.Equal(input.Shape, want) {
		t.Fatalf("input of shape %v, want %v", input.Shape, want)
	}
	a := o.Architecture
	a.Std = [3]float32{1, 1, 1}
	n := mustNetwork(t, networkConfig{
		Architecture: a, Head: o.Head, Weights: tensors, Loss: o.Loss, Groups: 3, Rows: 2, Threads: 1, Momentum: 0.9,
	})
	for i, want := range losses {
		r, err := n.step(input.Data, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Loss != want {
			t.Errorf("step %d: loss %v, BareStep has %v", i, r.Loss, want)
		}
	}
	if losses[0] == losses[2] {
		t.Error("the steps change nothing")
	}
}

package training

import (
	"fmt"

	"imgsearch/embedder"
)

// front is the layers before the first one that is trained. They need no gradient, so they are no part of the graph: the
// inference path of package embedder runs them, a few images at a time, and what it leaves is the graph's input.
type front struct {
	architecture embedder.Architecture
	layers       int
	threads      int
	weights      func() embedder.Weights
	ready        *embedder.Front // nil until it is needed, and after the weights have changed
}

// begin adds the input of the graph and returns it with the number of the layer that it is for.
func (b *netBuilder[T]) begin() (*variable[T], int, error) {
	n := b.net
	a := n.config.Architecture
	layers := a.FrontLayers()
	if _, ok := any(n).(*network); !ok || b.fixed || layers == 0 {
		b.channels = 3
		n.input = n.graph.leaf("input", false, imageShape(n.batch, 3, a.InputSize, a.InputSize)...)
		return n.input, 0, nil
	}
	n.front = &front{architecture: a, layers: layers, threads: n.graph.threads, weights: n.weights}
	if err := n.front.prepare(); err != nil {
		return nil, 0, err
	}
	shape := n.front.ready.OutputShape()
	b.channels = shape.C
	n.input = n.graph.leaf("input", false, imageShape(n.batch, shape.C, shape.H, shape.W)...)
	return n.input, layers, nil
}

func (f *front) prepare() error {
	ready, err := embedder.NewFront(f.architecture, f.layers, f.weights(), f.threads)
	if err != nil {
		return fmt.Errorf("build the training graph: %w", err)
	}
	f.ready = ready
	return nil
}

// forget has the front made anew of its weights before it runs.
func (f *front) forget() { f.ready = nil }

// run writes what the front makes of n images [n, 3, S, S] to out, blocked.
func (f *front) run(n int, images, out []float32) error {
	if f.ready == nil {
		if err := f.prepare(); err != nil {
			return err
		}
	}
	f.ready.Run(n, images, out)
	return nil
}

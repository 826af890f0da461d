package embedder

import (
	"fmt"

	"imgsearch/internal/kernel"
)

// Front runs the first layers of a net, those that training leaves as they are, on images that come as a net takes
// them. It is what a trainer calls instead of computing these layers one by one over a whole batch: activations stay in
// the cache, and only the last one is kept. A Front is used by one goroutine at a time.
type Front struct {
	out     Shape
	net     *net
	workers []*worker
}

// FrontLayers returns how many layers from the first one on have nothing to train and leave images: frozen convolutions and
// batch normalisations, pooling and ReLU. The architecture must be valid.
func (a Architecture) FrontLayers() int {
	count := 0
	for _, l := range a.Layers {
		frozen := l.Frozen && (l.Kind == Conv || l.Kind == BatchNorm)
		if !frozen && l.Kind != MaxPool && l.Kind != ReLU {
			break
		}
		count++
	}
	return count
}

// NewFront prepares the first count layers of a valid architecture, at least one, to run on up to threads threads (all of
// them where threads is not positive). The weights may hold those of other layers too; they must not change afterwards.
func NewFront(a Architecture, count int, weights Weights, threads int) (*Front, error) {
	a = a.Clone()
	a.Layers = a.Layers[:count]
	ops, out, err := (&compiler{}).compile("layers", a.Layers, a.InputShape())
	if err != nil {
		return nil, err
	}
	if out.Flat() || count < 1 {
		return nil, fmt.Errorf("%w: a front of %d layers leaves no images", ErrArchitecture, count)
	}
	if err := (&filler{weights: weights, threads: kernel.Threads(threads)}).fill(ops); err != nil {
		return nil, err
	}
	f := &Front{out: out, net: &net{inputSize: a.InputSize, inputPixels: a.InputSize * a.InputSize, segments: segments(ops)}}
	for range kernel.Threads(threads) {
		f.workers = append(f.workers, newWorker(f.net))
	}
	return f, nil
}

// OutputShape returns the shape that an image has behind the front.
func (f *Front) OutputShape() Shape { return f.out }

// Run computes the front for n images: input is [n, 3, InputSize, InputSize] float32, normalised; out is [n, Blocks(C), H,
// W, BlockChannels], blocked as package kernel has it, and overwritten. Results do not depend on the number of threads.
func (f *Front) Run(n int, input, out []float32) {
	size, length, block := 3*f.net.inputPixels, memoryLen(f.out), f.net.block()
	kernel.ParallelPieces(len(f.workers), (n+block-1)/block, 1, func(worker, piece, _ int) {
		first := piece * block
		count := min(block, n-first)
		f.workers[worker].embed(count, func(i int) []float32 { return input[(first+i)*size:][:size] }, out[first*length:][:count*length])
	})
}

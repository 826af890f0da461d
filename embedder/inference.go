package embedder

import (
	"imgsearch/internal/kernel"
)

// InferenceOptions says what an [Inference] runs.
type InferenceOptions struct {
	// Head lists flat layers that follow the net, as a trainer's projection head does. Their tensors are named "head.0.weight"
	// and so on. Default none.
	Head []Layer
	// BFloat16 has convolutions of 16 or more input channels multiply numbers of 8 significant bits, which takes half the
	// time. The processor must have AVX512-BF16: see kernel.HasBF16.
	BFloat16 bool
	// Threads is the number of processors to use; not positive stands for all. Results do not depend on it.
	Threads int
}

// Inference runs a net whose weights change from time to time, on images that come as the net takes them: for a trainer
// that wants embeddings of a net beside the one that it trains. Activations stay in the cache, batch normalisation uses
// the running statistics and is folded. It is used by one goroutine at a time.
type Inference struct {
	net     *net
	ops     []op
	filler  filler
	workers []*worker
}

// NewInference prepares a valid architecture and its head to run; [Inference.SetWeights] must come before the first run.
// The error wraps [ErrArchitecture] where the head does not fit.
func NewInference(a Architecture, o InferenceOptions) (*Inference, error) {
	a = a.Clone()
	c := compiler{bfloat16: o.BFloat16}
	ops, out, err := c.compile("layers", a.Layers, a.InputShape())
	if err != nil {
		return nil, err
	}
	head, out, err := c.compile("head", cloneLayers(o.Head), out)
	if err != nil {
		return nil, err
	}
	ops = append(ops, head...)
	f := &Inference{
		net:    &net{dim: out.C, inputSize: a.InputSize, inputPixels: a.InputSize * a.InputSize, segments: segments(ops)},
		ops:    ops,
		filler: filler{threads: kernel.Threads(o.Threads)},
	}
	for range kernel.Threads(o.Threads) {
		f.workers = append(f.workers, newWorker(f.net))
	}
	return f, nil
}

// Dim returns the number of values that the net, with its head, makes of an image.
func (f *Inference) Dim() int { return f.net.dim }

// SetWeights makes the weights those of the runs to come: tensors of the architecture's and the head's names and shapes.
// Their memory is read in later runs and must not change before the next call. The error wraps [ErrWeights] where values
// leave the range of float32; there must be another call then before the next run.
func (f *Inference) SetWeights(w Weights) error {
	f.filler.weights = w
	return f.filler.fill(f.ops)
}

// Run computes the net for n images: input is [n, 3, InputSize, InputSize] float32, normalised; out is [n, Dim] and
// overwritten.
func (f *Inference) Run(n int, input, out []float32) {
	size, dim := 3*f.net.inputPixels, f.net.dim
	block := max(1, min(f.net.block(), (n+len(f.workers)-1)/len(f.workers)))
	kernel.ParallelPieces(len(f.workers), (n+block-1)/block, 1, func(worker, piece, _ int) {
		first := piece * block
		count := min(block, n-first)
		f.workers[worker].embed(count, func(i int) []float32 { return input[(first+i)*size:][:size] }, out[first*dim:][:count*dim])
	})
}

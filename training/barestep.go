package training

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"imgsearch/embedder"
)

// BareStepOptions says which training step a [BareStep] repeats. The zero value is not usable: Architecture, Loss and
// Groups are required.
type BareStepOptions struct {
	// Architecture is the net. Zero Std stands for ones: no image is normalised here.
	Architecture embedder.Architecture
	// Head is a projection head; default none.
	Head []embedder.Layer
	// Loss scores the embeddings. It decides how many images a group has: three with [MinerRandom], otherwise two.
	Loss LossOptions
	// Target is that of [Options].
	Target TargetOptions
	// Groups is the number of pairs or triplets in a batch.
	Groups int
	// Threads is the number of processors to use; 0 is all.
	Threads int
	// Precision is that of the convolutions, as in [Options].
	Precision Precision
	// LearningRate of the steps; 0 is 1e-4, so that no weight runs off, which would change the speed.
	LearningRate float64
	// Momentum, Nesterov, WeightDecay, Optimizer and Average are those of [Options].
	Momentum    float64
	Nesterov    bool
	WeightDecay float64
	Optimizer   OptimizerOptions
	Average     AverageOptions
	// Seed decides weights and input.
	Seed uint64
}

// BareStepOptions returns the step that a run with these options makes: of the preset's net, loss and batch where none
// are given, at the encoder's size and with two views. Data, how views are made and the budget do not count. The batch is not cut to the number of images.
func (o Options) BareStepOptions() (BareStepOptions, error) {
	p, err := o.recipe()
	if err != nil {
		return BareStepOptions{}, err
	}
	if o, err = o.withNet(p); err != nil {
		return BareStepOptions{}, err
	}
	if o, err = o.withLoss(); err != nil {
		return BareStepOptions{}, err
	}
	if o, err = o.withBatch(p); err != nil {
		return BareStepOptions{}, err
	}
	return BareStepOptions{
		Architecture: o.Architecture, Head: o.Head, Loss: o.Loss, Target: o.Target, Groups: o.Batch, Threads: o.Threads,
		Precision: o.Precision, Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: o.WeightDecay,
		Optimizer: o.Optimizer, Average: o.Average, Seed: o.Seed,
	}, nil
}

// BareStep repeats the training step of a net on one batch of random input: forward, loss, backward, solver, and nothing
// of a run's views, checkpoints and measurements. It is the yardstick of benchmarks: of how fast the arithmetic is, and
// of what a whole run costs on top of it. It takes as much memory as a run's net does, and is used by one goroutine at a
// time.
type BareStep struct {
	net   *network
	input []float32
	rate  float64

	images          int
	flops, forwards int64
}

// NewBareStep prepares the step; Close frees it. Errors wrap [ErrOptions] or [embedder.ErrArchitecture] where these apply.
func NewBareStep(o BareStepOptions) (*BareStep, error) {
	a := o.Architecture.Clone()
	if a.Std == [3]float32{} {
		a.Std = [3]float32{1, 1, 1}
	}
	if err := a.Validate(); err != nil {
		return nil, fmt.Errorf("bare step: %w", err)
	}
	if o.Groups > maxBatch {
		return nil, optionError("groups", o.Groups, fmt.Sprintf("at most %d", maxBatch))
	}
	precision, err := o.Precision.complete()
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(o.Seed, uint64(streamWeights)))
	weights := embedder.InitWeights(a, rng)
	for name, t := range initHeadWeights(a.OutputDim(), o.Head, rng) {
		weights[name] = t
	}
	maps.Copy(weights, o.Target.initWeights(a.OutputDim(), o.Head, rng))
	net, err := newNetwork(networkConfig{
		Architecture: a, Head: o.Head, Weights: weights, Loss: o.Loss, Target: o.Target, Groups: o.Groups,
		Rows: o.Loss.rows(), Threads: o.Threads, Precision: precision, Momentum: o.Momentum, Nesterov: o.Nesterov,
		WeightDecay: o.WeightDecay, Optimizer: o.Optimizer, Average: o.Average,
	})
	if err != nil {
		return nil, fmt.Errorf("bare step: %w", err)
	}
	b := &BareStep{net: net, input: make([]float32, net.inputLen()), rate: o.LearningRate, images: o.Groups * o.Loss.rows()}
	if b.rate == 0 {
		b.rate = 1e-4
	}
	for i := range b.input {
		b.input[i] = float32(rng.NormFloat64())
	}
	b.forwards, b.flops = net.config.Target.stepFLOPs(a, o.Head)
	return b, nil
}

// Images is the number of images that go through the net in a step: the groups times the two or three images of each.
func (b *BareStep) Images() int { return b.images }

// ForwardFLOPs is the number of floating-point operations of the net's forward pass for one image, counted as
// [embedder.Step.FLOPs] does, the head included.
func (b *BareStep) ForwardFLOPs() int64 { return b.forwards }

// FLOPs is the number of floating-point operations of a whole step for one image: the forward pass; the gradients of
// the weights, of layers that are not frozen; and the gradients of activations, of layers behind which, seen from the
// loss, anything is trained. Convolutions and linear layers count, as sums over windows whatever way they are computed;
// all else, the loss among it, does not.
func (b *BareStep) FLOPs() int64 { return b.flops }

// Run makes steps, at least so many and for at least so long, and tells how long they took. The first steps after
// NewBareStep touch new memory and are slower: a caller runs two or three before those that it counts.
func (b *BareStep) Run(steps int, atLeast time.Duration) (StepTimes, error) {
	var s StepTimes
	var before, after runtime.MemStats
	s.Durations = make([]time.Duration, 0, max(steps, 1024))
	runtime.ReadMemStats(&before)
	begun := time.Now()
	for last := begun; len(s.Durations) < steps || last.Sub(begun) < atLeast; {
		if _, err := b.net.step(b.input, b.rate); err != nil {
			return StepTimes{}, err
		}
		now := time.Now()
		s.Durations = append(s.Durations, now.Sub(last))
		last = now
	}
	runtime.ReadMemStats(&after)
	if n := len(s.Durations); n > 0 {
		s.BytesPerStep = int64(after.TotalAlloc-before.TotalAlloc) / int64(n)
	}
	s.images, s.flops = b.images, b.flops
	return s, nil
}

// Close frees what the step holds.
func (b *BareStep) Close() error { return b.net.close() }

// StepTimes is what [BareStep.Run] measured.
type StepTimes struct {
	// Durations are those of the steps, in the order that they ran in.
	Durations []time.Duration
	// BytesPerStep is the mean number of bytes that the whole program allocated during a step.
	BytesPerStep int64

	images int
	flops  int64
}

// Median is the median duration of a step; 0 where there was none.
func (s StepTimes) Median() time.Duration {
	if len(s.Durations) == 0 {
		return 0
	}
	d := slices.Sorted(slices.Values(s.Durations))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}

// ImagesPerSecond is the number of images that go through the net in a second at the median duration; NaN without steps.
func (s StepTimes) ImagesPerSecond() float64 { return s.perSecond(float64(s.images)) }

// FLOPsPerSecond is [BareStep.FLOPs] of all images over the median duration; NaN without steps.
func (s StepTimes) FLOPsPerSecond() float64 { return s.perSecond(float64(s.images) * float64(s.flops)) }

func (s StepTimes) perSecond(amount float64) float64 {
	if d := s.Median(); d > 0 {
		return amount / d.Seconds()
	}
	return math.NaN()
}

// stepFLOPs returns the operations for one image: of the forward pass, and of a whole step.
func stepFLOPs(a embedder.Architecture, head []embedder.Layer) (forward, whole int64) {
	steps, _ := a.Steps() // valid: checked before
	if len(head) > 0 {
		more, _ := headArchitecture(a.OutputDim(), head).Steps()
		steps = append(steps, more[2:]...)
	}
	trained := false // whether anything before the layer is trained
	for _, s := range steps {
		n := s.FLOPs()
		forward += n
		whole += n
		if trained {
			whole += n // the gradient of what enters the layer
		}
		switch s.Layer.Kind {
		case embedder.Conv, embedder.Linear, embedder.BatchNorm:
			if !s.Layer.Frozen {
				whole += n
				trained = true
			}
		}
	}
	return forward, whole
}

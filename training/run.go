package training

import (
	"context"
	"time"

	"imgsearch/embedder"
)

// Run trains an encoder.
//
// It writes a checkpoint when training starts, every Options.CheckpointEvery, and when the context is cancelled; the
// error is then an [InterruptedError], which wraps the context's. A run that ended in any way, be it kill -9, goes on
// with Options.Resume and ends with the weights that it would have had. Errors wrap [ErrOptions], [ErrExists],
// [ErrNoCheckpoint], [ErrMismatch], [ErrCheckpoint], [ErrVersion], [ErrTooFew] or [ErrDiverged] where these apply.
func Run(ctx context.Context, o Options) (*Result, error) {
	return run(ctx, o, func(c networkConfig) (stepper, error) { return newNetwork(c) })
}

// trainer is a run.
type trainer struct {
	Options
	asked recorded // the options, before Mean and Std are measured
	begun time.Time

	corpus      *corpus
	dataset     string // its name
	fingerprint string
	skipped     int
	train, back []int32
	held        *heldBackSet // nil where no images are held back
	batch       int
	perGroup    int // full-size rows
	peakRate    float64
	equal       float64 // the loss of equal embeddings
	normalised  bool
	trainedDim  int // values that the net in training leaves before the head

	net stepper
	// What the net is made of, and by, at the run's first size; side is the present one.
	config  networkConfig
	makeNet func(networkConfig) (stepper, error)
	side    int
	record  *record

	at       checkpoint // where the run is; its state field is filled when it is saved
	started  time.Time  // when this part of the run's training began
	before   float64    // seconds of training in the parts before
	speed    speed
	shown    time.Time // when OnProgress was last called
	saved    time.Time
	measured time.Time
	phase    Phase
	spent    spending
}

func run(ctx context.Context, o Options, makeNet func(networkConfig) (stepper, error)) (*Result, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	t := &trainer{Options: o, asked: o.record(), begun: o.now(), record: &record{}, makeNet: makeNet}
	from, err := t.openOut()
	if err != nil {
		return nil, err
	}
	defer t.closeCorpus()
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	if from != nil {
		if err := t.compareImages(from); err != nil {
			return nil, err
		}
	}
	if err := t.prepare(ctx, from); err != nil {
		return nil, err
	}
	defer t.closeNet()
	if err := t.openRecord(from); err != nil {
		return nil, err
	}
	defer t.record.close()
	if err := t.loop(ctx); err != nil {
		return nil, err
	}
	return t.finish(ctx)
}

// closeNet frees the net, where there is one.
func (t *trainer) closeNet() {
	if t.net != nil {
		_ = t.net.close()
	}
}

// closeCorpus removes the images that went to a file.
func (t *trainer) closeCorpus() {
	if t.corpus != nil {
		t.corpus.close()
	}
}

// spending is where the time went since the start or the last resume.
type spending struct {
	loading, preparing time.Duration // before the first step
	waiting            time.Duration // of steps for their batch
	measuring          time.Duration // on held-back images
	saving             time.Duration // of checkpoints
	finishing          time.Duration // after the last step
}

// stepper is the net in training, as the loop sees it.
type stepper interface {
	// step makes one update from a batch and returns what came of it; ErrDiverged where the loss is no number.
	step(input []float32, learningRate float64) (stepResult, error)
	// weights returns a copy of the encoder's weights, running statistics included.
	weights() embedder.Weights
	// headWeights returns a copy of those of the projection head, averaged as the others are; none where there is none.
	headWeights() embedder.Weights
	// state returns a copy of all that decides what further steps do; setState goes back to it.
	state() embedder.Weights
	setState(embedder.Weights) error
	close() error
}

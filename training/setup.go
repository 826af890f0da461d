package training

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"sync"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// load decodes the images and divides them.
func (t *trainer) load(ctx context.Context) error {
	var err error
	t.dataset = t.Data.Name()
	problem := func(p dataset.Problem) {
		t.skipped++
		t.OnProblem(p)
	}
	loaded := func(done, total int) {
		if t.due() {
			t.OnProgress(Progress{Phase: Loading, Loaded: done, Images: total, Loss: math.NaN(), Active: math.NaN(),
				LearningRate: math.NaN(), ImagesPerSecond: math.NaN()})
		}
	}
	if t.corpus, err = loadCorpus(ctx, t.Data, loading{
		size: t.Size, threads: t.Threads, memory: t.Corpus.limit(), out: t.Out, onProblem: problem, onLoad: loaded,
	}); err != nil {
		return err
	}
	var sealing sync.WaitGroup
	var unsealed error
	sealing.Go(func() { unsealed = t.corpus.seal() })
	t.fingerprint, err = dataset.Fingerprint(ctx, t.Data)
	sealing.Wait()
	if err != nil {
		return fmt.Errorf("fingerprint of %s: %w", t.dataset, err)
	}
	if unsealed != nil {
		return unsealed
	}
	t.Data = nil
	t.OnLoaded()
	t.spent.loading = t.now().Sub(t.begun)
	images := t.corpus.len()
	if images < fewestImages {
		return fmt.Errorf("%w: %d in %s, %d are needed", ErrTooFew, images, t.dataset, fewestImages)
	}
	held, err := t.heldBackCount(images)
	if err != nil {
		return err
	}
	t.train, t.back = split(t.Seed, images, held)
	if t.TrainOnAll {
		t.train = make([]int32, images)
		for i := range t.train {
			t.train[i] = int32(i)
		}
	}
	if len(t.train) < fewestImages {
		return fmt.Errorf("%w: %d in %s that are not held back, %d are needed", ErrTooFew, len(t.train), t.dataset, fewestImages)
	}
	t.batch = min(t.Batch, len(t.train))
	t.perGroup = t.MultiView.rows(t.Loss)
	t.peakRate = t.peak(t.batch)
	t.equal = t.MultiView.equalLoss(t.Loss, t.batch)
	if t.Target.on() {
		t.equal = t.Target.equalLoss(t.batch)
	}
	t.normalised = t.Architecture.Normalized()
	return nil
}

// prepare makes the net, as the checkpoint has it or with first weights, and settles the number of steps.
func (t *trainer) prepare(ctx context.Context, from *checkpoint) error {
	begun := t.now()
	t.report(Preparing)
	if t.Architecture.Std == [3]float32{} {
		t.Architecture.Mean, t.Architecture.Std = t.corpus.channelStatistics(t.train, t.Threads)
	}
	t.trainedDim = t.Architecture.OutputDim()
	if len(t.back) > 0 {
		t.held = newHeldBackSet(t.corpus, t.back, t.Options)
		t.held.loss.batch = t.batch
	}
	weights := embedder.InitWeights(t.Architecture, rand.New(rand.NewPCG(t.Seed, uint64(streamWeights))))
	if first := t.Architecture.Layers[0]; first.Init == embedder.InitWhiten && from == nil {
		weights[t.Architecture.Parameters()[0].Name] = whiteningFilters(t.corpus, t.train, t.Architecture, first.Kernel, t.Seed)
	}
	if err := t.corpus.err(); err != nil {
		return err
	}
	head := initHeadWeights(t.trainedDim, t.Head, rand.New(rand.NewPCG(t.Seed, uint64(streamHead))))
	maps.Copy(weights, head)
	maps.Copy(weights, t.Target.initWeights(t.trainedDim, t.Head, rand.New(rand.NewPCG(t.Seed, uint64(streamPredictor)))))
	t.side = t.Sizes.first(t.Size)
	t.config = networkConfig{
		Architecture: t.Architecture.Clone(), Head: t.Head, Weights: weights, Loss: t.Loss, Target: t.Target,
		MultiView: t.MultiView, Groups: t.batch, Rows: t.perGroup,
		Threads: t.Threads, Precision: t.Precision, Momentum: t.Momentum, WeightDecay: t.WeightDecay, Nesterov: t.Nesterov,
		Optimizer: t.Optimizer, Average: t.Average,
	}
	t.config.Architecture.InputSize = t.side
	net, err := t.makeNet(t.config)
	t.config.Weights = nil
	if err != nil {
		return fmt.Errorf("set up the net: %w", err)
	}
	t.net = net
	if err := t.settle(ctx, from); err != nil {
		t.closeNet()
		return err
	}
	t.spent.preparing = t.now().Sub(begun)
	return nil
}

// settle goes back to the checkpoint, or decides how many steps there will be.
func (t *trainer) settle(ctx context.Context, from *checkpoint) error {
	if from != nil {
		if err := t.net.setState(from.state); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCheckpoint, CheckpointPath(t.Out), err)
		}
		t.at, t.before = *from, from.Seconds
		t.at.state = nil
		if k := kernel.Name(); k != t.at.Kernel {
			t.at.Watch.warn("kernel "+k, fmt.Sprintf("resumed with %s arithmetic after %s: weights will differ in the last digits "+
				"from an uninterrupted run's", k, t.at.Kernel))
			t.at.Kernel = k
		}
		return nil
	}
	t.at = checkpoint{Options: t.asked, Images: t.corpus.digest, Kernel: kernel.Name()}
	t.firstWarnings()
	var err error
	switch {
	case t.Steps > 0:
		t.at.Steps = t.Steps
	case t.Epochs > 0:
		if t.at.Steps, err = stepsFor(t.Epochs, len(t.train)/t.batch); err != nil {
			return err
		}
		if t.at.Steps < fewSteps {
			t.at.Watch.warn("short", fmt.Sprintf("%d epochs are %d steps only: give more epochs, or a smaller batch", t.Epochs, t.at.Steps))
		}
	default:
		if t.at.Steps, err = t.measureSteps(ctx); err != nil {
			return err
		}
		if t.at.Steps < fewSteps {
			t.at.Watch.warn("short", fmt.Sprintf("there is time for %d steps only: give more minutes, or a smaller batch", t.at.Steps))
		}
	}
	return nil
}

// fewSteps is the number of steps below which a budget of minutes or epochs is warned of.
const fewSteps = 20

// fewImages is the number of training images below which a run is warned of.
const fewImages = 500

func (t *trainer) firstWarnings() {
	w := &t.at.Watch
	if t.batch < t.Batch {
		w.warn("batch", fmt.Sprintf("the batch is %d, all training images, not %d", t.batch, t.Batch))
	}
	if len(t.train) < fewImages {
		w.warn("few", fmt.Sprintf("%d training images are few: the encoder will know these and may not serve for others; "+
			"the built-in encoder may serve better", len(t.train)))
	}
	if n := min(t.Finish.Images, len(t.train)); t.Finish.PCA && n < finishPerFeature*t.trainedDim {
		w.warn("finish", fmt.Sprintf("the principal components of %d features are taken of %d images only: the weak ones are noise", t.trainedDim, n))
	}
	if t.Stop.Patience > 0 && t.held == nil {
		w.warn("stop", "no image is held back: the run cannot find out that it has stalled, and makes all its steps")
	}
	if !t.Views.changes() {
		w.warn("views", "the views of an image are equal: there is nothing to learn")
	}
}

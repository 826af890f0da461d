package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// stepper is the net in training, as the loop sees it.
type stepper interface {
	// step makes one update from a batch and returns what came of it; ErrDiverged where the loss is no number.
	step(input []float32, learningRate float64) (stepResult, error)
	// weights returns a copy of the encoder's weights, running statistics included.
	weights() embedder.Weights
	// state returns a copy of all that decides what further steps do; setState goes back to it.
	state() embedder.Weights
	setState(embedder.Weights) error
	close() error
}

// Result is what a finished run leaves.
type Result struct {
	// Encoder is the trained encoder, as it was written to Path.
	Encoder *embedder.Encoder
	// Path and Record are the encoder file and the run record; "" where Options.Out was empty.
	Path, Record string
	// Steps updates were made, Epochs passes over Images training images, Batch of them a step.
	Steps, Images, Batch int
	Epochs               float64
	// Loss is the mean over about the last hundred steps.
	Loss float64
	// HeldBack is the measurement at the end; nil where no images were held back.
	HeldBack *HeldBack
	// Elapsed is the time spent in training, that before a resume counted.
	Elapsed time.Duration
	// Skipped is the number of images that could not be read.
	Skipped int
	// Warnings lists what there was to warn of, a collapse for instance.
	Warnings []string
}

// CheckpointPath returns where a run with the encoder file out keeps its checkpoint until it is finished.
func CheckpointPath(out string) string { return out + ".checkpoint" }

// RecordPath returns where a run with the encoder file out writes its record.
func RecordPath(out string) string { return out + ".jsonl" }

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
	fingerprint string
	skipped     int
	train, back []int32
	held        *heldBackSet // nil where no images are held back
	batch       int
	perGroup    int // rows
	peakRate    float64
	equal       float64 // the loss of equal embeddings
	normalised  bool

	net    stepper
	record *record

	at       checkpoint // where the run is; its state field is filled when it is saved
	started  time.Time  // when this part of the run's training began
	before   float64    // seconds of training in the parts before
	speed    speed
	shown    time.Time // when OnProgress was last called
	saved    time.Time
	measured time.Time
	phase    Phase
}

func run(ctx context.Context, o Options, makeNet func(networkConfig) (stepper, error)) (*Result, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	t := &trainer{Options: o, asked: o.record(), begun: o.now(), record: &record{}}
	from, err := t.openOut()
	if err != nil {
		return nil, err
	}
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	if from != nil {
		if err := t.compareImages(from); err != nil {
			return nil, err
		}
	}
	if err := t.prepare(ctx, from, makeNet); err != nil {
		return nil, err
	}
	defer func() { _ = t.net.close() }()
	if err := t.openRecord(from); err != nil {
		return nil, err
	}
	defer t.record.close()
	if err := t.loop(ctx); err != nil {
		return nil, err
	}
	return t.finish(ctx)
}

// openOut checks what lies at Out, and reads the checkpoint to resume from, if one is asked for.
func (t *trainer) openOut() (*checkpoint, error) {
	if t.Out == "" {
		return nil, nil
	}
	_, outErr := os.Lstat(t.Out)
	if t.Resume {
		from, err := readCheckpoint(CheckpointPath(t.Out))
		if errors.Is(err, ErrNoCheckpoint) && outErr == nil {
			return nil, fmt.Errorf("%w; %s is finished", err, t.Out)
		}
		if err != nil {
			return nil, err
		}
		if d := differences(from.Options, t.asked); len(d) > 0 {
			return nil, fmt.Errorf("%w: %s", ErrMismatch, abridged(d))
		}
		return from, nil
	}
	if outErr == nil && !t.Overwrite {
		return nil, fmt.Errorf("%s %w: choose another name, or overwrite it", t.Out, ErrExists)
	}
	if _, err := os.Lstat(CheckpointPath(t.Out)); err == nil && !t.Overwrite {
		return nil, fmt.Errorf("%s %w, of a run that is not finished: resume it, or overwrite it", CheckpointPath(t.Out), ErrExists)
	}
	// A place that cannot be written is better known now than after the training.
	probe := CheckpointPath(t.Out) + ".tmp"
	f, err := os.OpenFile(probe, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("write beside %s: %w", t.Out, err)
	}
	_ = f.Close()
	return nil, os.Remove(probe)
}

// abridged joins texts, at most five of them.
func abridged(texts []string) string {
	if more := len(texts) - 5; more > 0 {
		texts = append(slices.Clone(texts[:5]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// load decodes the images and divides them.
func (t *trainer) load(ctx context.Context) error {
	var err error
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
	if t.corpus, err = loadCorpus(ctx, t.Data, t.Size, t.Threads, problem, loaded); err != nil {
		return err
	}
	if t.fingerprint, err = dataset.Fingerprint(ctx, t.Data); err != nil {
		return fmt.Errorf("fingerprint of %s: %w", t.Data.Name(), err)
	}
	images := t.corpus.len()
	if images < fewestImages {
		return fmt.Errorf("%w: %d in %s, %d are needed", ErrTooFew, images, t.Data.Name(), fewestImages)
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
		return fmt.Errorf("%w: %d in %s that are not held back, %d are needed", ErrTooFew, len(t.train), t.Data.Name(), fewestImages)
	}
	t.batch = min(t.Batch, len(t.train))
	t.perGroup = t.Loss.rows()
	t.peakRate = t.peak(t.batch)
	t.equal = equalLoss(t.Loss, t.batch)
	t.normalised = t.Architecture.Normalized()
	return nil
}

// compareImages refuses a checkpoint of other images.
func (t *trainer) compareImages(from *checkpoint) error {
	if from.Images != t.corpus.digest {
		return fmt.Errorf("%w: the images of %s are not those that it was training on", ErrMismatch, t.Data.Name())
	}
	return nil
}

// prepare makes the net, as the checkpoint has it or with first weights, and settles the number of steps.
func (t *trainer) prepare(ctx context.Context, from *checkpoint, makeNet func(networkConfig) (stepper, error)) error {
	t.report(Preparing)
	if t.Architecture.Std == [3]float32{} {
		t.Architecture.Mean, t.Architecture.Std = t.corpus.channelStatistics(t.train)
	}
	if len(t.back) > 0 {
		t.held = newHeldBackSet(t.corpus, t.back, t.Options)
	}
	weights := embedder.InitWeights(t.Architecture, rand.New(rand.NewPCG(t.Seed, uint64(streamWeights))))
	if first := t.Architecture.Layers[0]; first.Init == embedder.InitWhiten && from == nil {
		weights[t.Architecture.Parameters()[0].Name] = whiteningFilters(t.corpus, t.train, t.Architecture, first.Kernel, t.Seed)
	}
	head := initHeadWeights(t.Dim, t.Head, rand.New(rand.NewPCG(t.Seed, uint64(streamHead))))
	maps.Copy(weights, head)
	net, err := makeNet(networkConfig{
		Architecture: t.Architecture, Head: t.Head, Weights: weights, Loss: t.Loss, Groups: t.batch, Rows: t.perGroup,
		Threads: t.Threads, Momentum: t.Momentum, WeightDecay: t.WeightDecay, Nesterov: t.Nesterov,
	})
	if err != nil {
		return fmt.Errorf("set up the net: %w", err)
	}
	t.net = net
	if err := t.settle(ctx, from); err != nil {
		_ = net.close()
		return err
	}
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

// fewSteps is the number of steps below which a budget of minutes is warned of.
const fewSteps = 20

// fewImages is the number of training images below which a run is warned of.
const fewImages = 500

func (t *trainer) firstWarnings() {
	w := &t.at.Watch
	if t.batch < t.Batch {
		w.warn("batch", fmt.Sprintf("the batch is %d, all training images, not %d", t.batch, t.Batch))
	}
	if len(t.train) < fewImages {
		w.warn("few", fmt.Sprintf("%d training images are few: the encoder will know these and may not serve for others", len(t.train)))
	}
	if !t.Views.changes() {
		w.warn("views", "the views of an image are equal: there is nothing to learn")
	}
}

// heldBackShare and reserve are shares of the time: of the training, at most, that measurements on the held-back images
// take; and of a budget of minutes that is kept for them, checkpoints and the end.
const (
	heldBackShare = 0.02
	reserve       = 0.03
)

// measureSteps turns the minutes of the budget that are left into a number of steps, by running steps for a little
// while, which are then undone.
func (t *trainer) measureSteps(ctx context.Context) (int, error) {
	start := t.net.state()
	budget := time.Duration(t.Minutes * float64(time.Minute))
	within := min(max(budget/50, 300*time.Millisecond), 15*time.Second)
	const warmUp = 2
	p := t.pipeline(0, maxSteps)
	defer p.close()
	var begun time.Time
	var each time.Duration
	for step := 0; ; step++ {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("training interrupted before its first step: %w", err)
		}
		if step == warmUp {
			begun = t.now()
		}
		if done := step - warmUp; done > 0 {
			spent := t.now().Sub(begun)
			each = spent / time.Duration(done)
			if done >= 3 && spent >= within {
				break
			}
		}
		buffer := p.next()
		// The learning rate is small, so that no weight runs off: that would change the speed.
		if _, err := t.net.step(buffer, 1e-6); err != nil {
			return 0, fmt.Errorf("measure the speed: %w", err)
		}
		p.release()
	}
	if err := t.net.setState(start); err != nil {
		return 0, fmt.Errorf("measure the speed: %w", err)
	}
	left := budget - t.now().Sub(t.begun) - time.Duration(reserve*float64(budget))
	return stepsWithin(left, each), nil
}

func (t *trainer) pipeline(first, end int) *pipeline {
	b := newBatches(t.corpus, t.train, t.Options, t.batch, t.perGroup)
	return startPipeline(b, first, end, t.perGroup*t.batch, 3*t.Size*t.Size, t.Threads)
}

// openRecord starts or continues the run record, and saves the first checkpoint.
func (t *trainer) openRecord(from *checkpoint) (err error) {
	now := t.now()
	t.started, t.saved, t.measured = now, now, now
	if t.Out == "" {
		return nil
	}
	if from != nil {
		if t.record, err = continueRecord(RecordPath(t.Out), from.RecordBytes); err != nil {
			return err
		}
		return t.record.add(eventLine{Kind: "resume", Time: now, Step: t.at.Step, Seconds: rounded(t.seconds())})
	}
	if t.record, err = createRecord(RecordPath(t.Out)); err != nil {
		return err
	}
	if err := t.record.add(startLine{
		Kind: "start", Time: now, Program: t.Program, Go: runtime.Version(), System: systemName(), CPUs: runtime.NumCPU(),
		Threads: t.Threads, Kernel: t.at.Kernel, Options: t.at.Options, Dataset: t.Data.Name(), Finger: t.fingerprint,
		Images: t.corpus.len(), Skipped: t.skipped, Train: len(t.train), HeldBack: len(t.back), Batch: t.batch, Peak: t.peakRate,
		Steps: t.at.Steps, Weights: t.Architecture.ParameterCount(), FLOPs: t.Architecture.FLOPs(),
		Mean: t.Architecture.Mean, Std: t.Architecture.Std,
	}); err != nil {
		return err
	}
	for _, text := range t.at.Watch.Warnings {
		if err := t.warned(text); err != nil {
			return err
		}
	}
	return t.save()
}

// recordLines is about how many step lines a run record has.
const recordLines = 500

// loop runs the steps that are left.
func (t *trainer) loop(ctx context.Context) error {
	p := t.pipeline(t.at.Step, t.at.Steps)
	defer p.close()
	every := max(1, t.at.Steps/recordLines)
	var spentMeasuring time.Duration
	if t.held != nil && t.at.Step == 0 {
		spent, err := t.measure(ctx)
		if err != nil {
			return t.interrupted(err)
		}
		spentMeasuring = spent
	}
	t.report(Training)
	last := t.now()
	for t.at.Step < t.at.Steps {
		if err := ctx.Err(); err != nil {
			return t.interrupted(err)
		}
		step := t.at.Step
		rate := t.Schedule.rate(t.peakRate, t.WarmUp, step, t.at.Steps)
		buffer := p.next()
		result, err := t.net.step(buffer, rate)
		if err != nil {
			return fmt.Errorf("step %d of %d at learning rate %.3g: %w", step+1, t.at.Steps, rate, err)
		}
		p.release()
		t.at.Step++
		t.at.Meter.add(result)
		now := t.now()
		t.speed.add(now.Sub(last))
		last = now
		if text := t.at.Watch.step(t.at.Step, result, t.normalised, t.Dim, t.equal, t.perGroup == 3); text != "" {
			if err := t.warned(text); err != nil {
				return err
			}
		}
		if t.at.Step%every == 0 || t.at.Step == t.at.Steps {
			if err := t.recordStep(rate); err != nil {
				return err
			}
		}
		if t.held != nil && t.at.Step < t.at.Steps && t.measurementDue(now, spentMeasuring) {
			if spentMeasuring, err = t.measure(ctx); err != nil {
				return t.interrupted(err)
			}
			last = t.now()
		}
		if t.afterStep != nil {
			t.afterStep(t.at.Step)
		}
		if now.Sub(t.saved) >= t.CheckpointEvery && t.at.Step < t.at.Steps {
			if err := t.save(); err != nil {
				return err
			}
			last = t.now()
		}
		t.report(Training)
	}
	return nil
}

// heldBackEvery bounds the time between two measurements from below and above.
const (
	heldBackLeast = 5 * time.Second
	heldBackMost  = 5 * time.Minute
)

// measurementDue says whether it is time for another look at the held-back images: about twenty of them over a run,
// fewer where they are dear.
func (t *trainer) measurementDue(now time.Time, cost time.Duration) bool {
	total := t.seconds() + t.speed.left(t.at.Steps-t.at.Step).Seconds()
	interval := min(max(time.Duration(total/20*1e9), heldBackLeast), heldBackMost)
	interval = max(interval, time.Duration(float64(cost)/heldBackShare))
	return now.Sub(t.measured) >= interval
}

// measure looks at the held-back images and returns the time that it took.
func (t *trainer) measure(ctx context.Context) (time.Duration, error) {
	begun := t.now()
	h, err := t.held.measure(ctx, t.Architecture, t.net.weights(), t.at.Step)
	if err != nil {
		return 0, err
	}
	t.at.HeldBack = h
	t.measured = t.now()
	err = t.record.add(heldBackLine{Kind: "held_back", HeldBack: *h, Seconds: rounded(t.seconds())})
	return t.measured.Sub(begun), err
}

// recordStep writes a line of means to the run record.
func (t *trainer) recordStep(rate float64) error {
	m := &t.at.Meter
	return t.record.add(stepLine{
		Kind: "step", Step: t.at.Step, Epoch: t.epoch(), Loss: m.LossMean.take(), Active: m.ActiveMean.take(),
		Positive: m.PositiveMean.take(), Negative: m.NegativeMean.take(), Spread: m.SpreadMean.take(),
		LearningRate: rate, Seconds: rounded(t.seconds()),
	})
}

// warned writes a warning to the run record.
func (t *trainer) warned(text string) error {
	return t.record.add(eventLine{Kind: "warning", Time: t.now(), Step: t.at.Step, Text: text, Seconds: rounded(t.seconds())})
}

// interrupted saves a checkpoint when the context was cancelled; other errors pass through.
func (t *trainer) interrupted(err error) error {
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &InterruptedError{Step: t.at.Step, Steps: t.at.Steps, Err: err}
	if t.Out != "" {
		if err := t.record.add(eventLine{Kind: "interrupted", Time: t.now(), Step: t.at.Step, Seconds: rounded(t.seconds())}); err != nil {
			return err
		}
		if err := t.save(); err != nil {
			return err
		}
		e.Checkpoint = CheckpointPath(t.Out)
	}
	return e
}

// save writes the checkpoint.
func (t *trainer) save() error {
	if t.Out == "" {
		return nil
	}
	length, err := t.record.sync()
	if err != nil {
		return err
	}
	t.at.RecordBytes, t.at.Seconds = length, t.seconds()
	t.at.state = t.net.state()
	data, err := t.at.encode()
	t.at.state = nil
	if err != nil {
		return err
	}
	if err := writeAtomically(CheckpointPath(t.Out), data); err != nil {
		return fmt.Errorf("save checkpoint at step %d: %w", t.at.Step, err)
	}
	t.saved = t.now()
	return nil
}

// finish writes the encoder, ends the run record and removes the checkpoint.
func (t *trainer) finish(ctx context.Context) (*Result, error) {
	if t.held != nil {
		if _, err := t.measure(ctx); err != nil {
			return nil, t.interrupted(err)
		}
	}
	loss := t.at.Meter.Loss.value()
	encoder, err := embedder.New(t.Architecture, t.net.weights(), embedder.Metadata{
		Preset: t.Preset, Seed: t.Seed, Steps: t.at.Step, Dataset: t.Data.Name(), DatasetFingerprint: t.fingerprint,
		FinalLoss: loss, Created: t.now().UTC().Format(time.RFC3339), Program: t.Program,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	result := &Result{
		Encoder: encoder, Steps: t.at.Step, Epochs: t.epoch(), Images: len(t.train), Batch: t.batch, Loss: loss,
		HeldBack: t.at.HeldBack, Elapsed: seconds(t.seconds()), Skipped: t.skipped, Warnings: slices.Clone(t.at.Watch.Warnings),
	}
	if t.Out != "" {
		result.Path, result.Record = t.Out, RecordPath(t.Out)
		if err := encoder.Save(t.Out); err != nil {
			// The work must not be lost: once there is room, a resume ends it.
			return nil, errors.Join(err, t.save())
		}
		if err := t.record.add(endLine{
			Kind: "end", Time: t.now(), Step: t.at.Step, Epoch: t.epoch(), Loss: loss, HeldBack: t.at.HeldBack,
			Seconds: rounded(t.seconds()), Fingerprint: encoder.Fingerprint(), Warnings: result.Warnings,
		}); err != nil {
			return nil, err
		}
		if _, err := t.record.sync(); err != nil {
			return nil, err
		}
		if err := os.Remove(CheckpointPath(t.Out)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove the checkpoint of the finished run: %w", err)
		}
	}
	t.report(Finished)
	return result, nil
}

// seconds is the time spent in training so far.
func (t *trainer) seconds() float64 { return t.before + t.now().Sub(t.started).Seconds() }

// epoch is the number of passes over the training images so far.
func (t *trainer) epoch() float64 {
	return float64(t.at.Step) / float64(max(1, len(t.train)/t.batch))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// rounded cuts seconds to milliseconds, for the run record.
func rounded(s float64) float64 { return math.Round(s*1000) / 1000 }

// progressEvery is the least time between two calls of OnProgress in one phase.
const progressEvery = 200 * time.Millisecond

// due says whether it is time to call OnProgress again.
func (t *trainer) due() bool {
	now := t.now()
	if now.Sub(t.shown) < progressEvery {
		return false
	}
	t.shown = now
	return true
}

// report calls OnProgress: at once when the phase is new, otherwise when it is time.
func (t *trainer) report(phase Phase) {
	if !t.due() && t.phase == phase {
		return
	}
	t.phase = phase
	p := Progress{
		Phase: phase, Loaded: t.corpus.len(), Images: len(t.train), Step: t.at.Step, Steps: t.at.Steps, Epoch: t.epoch(),
		Loss: t.at.Meter.Loss.value(), Active: t.at.Meter.Active.value(), LearningRate: math.NaN(),
		ImagesPerSecond: t.speed.imagesPerSecond(t.batch), HeldBack: t.at.HeldBack, Collapsed: t.at.Watch.Collapsed,
		Warnings: slices.Clip(t.at.Watch.Warnings),
	}
	if t.at.Step > 0 {
		p.LearningRate = t.Schedule.rate(t.peakRate, t.WarmUp, t.at.Step-1, t.at.Steps)
	}
	if phase != Preparing {
		p.Elapsed = seconds(t.seconds())
		p.Left = t.speed.left(t.at.Steps - t.at.Step)
	}
	t.OnProgress(p)
}

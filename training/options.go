package training

import (
	"fmt"
	"slices"
	"time"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// Options says what [Run] trains, on what and for how long. [PresetByName] fills in a recipe; Data, Out, a budget and
// whatever shall differ come on top.
type Options struct {
	// Data is the data set to train on; required. Its labels, where it has any, are used for the purity that Progress
	// shows and for nothing else.
	Data dataset.Dataset
	// Out is the encoder file to write. Beside it lie Out + ".jsonl", the run record, and until the run is finished
	// Out + ".checkpoint", as well as Out + ".images" where CorpusOptions have it so. With the empty string no encoder is
	// written and nothing can be resumed.
	Out string
	// Overwrite lets Run replace an encoder file, and drop the checkpoint of an unfinished run, that are there already.
	// Default false: they are ErrExists.
	Overwrite bool
	// Resume goes on from the checkpoint beside Out. All options that have an influence on the weights must be as they
	// were, and so must the images.
	Resume bool

	// Preset is the name of the recipe that the options came from; it is recorded in the encoder file, and fills in
	// Architecture, LearningRate and the budget where they are not given. With "" these three are required.
	Preset string
	// Size is the side in pixels that images are scaled to, 16 to 256; 0 is the preset's. Twice the side shows more
	// detail, takes four times the memory (3*Size*Size bytes an image, see CorpusOptions) and more time.
	Size int
	// Dim is the number of values of an embedding, 2 to 1024; 0 is the preset's. More values tell more images apart, and
	// make index files and queries dearer in proportion. With Finish.PCA it is that of the finished encoder.
	Dim int
	// Architecture is the encoder's net. With no layers it is the preset's net for Size and Dim; otherwise Size must be 0,
	// and Dim too unless Finish.PCA decides on it. Where Mean and Std are zero they are measured on the training images.
	Architecture embedder.Architecture
	// Head is a projection head: layers that follow the encoder during training only. Default none; [LossVICReg] and
	// [LossBarlowTwins], which cannot have outputs of length 1, then put one on an encoder that ends in L2Norm: Linear,
	// BatchNorm, ReLU and Linear, of four times as many values as the embedding, but not of more than 512 unless that has
	// more.
	Head []embedder.Layer
	// Finish says what is computed after the last step and added to the encoder. Default nothing.
	Finish FinishOptions

	// Loss is what the training minimises.
	Loss LossOptions
	// Target has views compared with what another net makes of them, or with neighbours; Loss is empty then. Default none.
	Target TargetOptions
	// Views says how the images to be pulled together are made.
	Views ViewOptions
	// MultiView asks for more views of each image, and for small crops.
	MultiView MultiViewOptions
	// Sizes lets the run begin on smaller images; where the net is the preset's, no stages stand for the preset's.
	Sizes SizeOptions

	// Epochs, Steps and Minutes are the budget; at most one may be set, and with none the preset's counts. An epoch is
	// one pass over the training images, a step one update of the weights. Minutes are turned into a number of steps
	// when training starts, by measuring the speed of the first ones; that number is kept by the checkpoint, so a run
	// that shares the processor with another later takes longer than asked for. The Finish comes on top.
	Epochs, Steps int
	Minutes       float64
	// Batch is the number of anchors a step, 1 to 8192; 0 is the preset's. Losses that take their negatives from the
	// batch learn more from a larger one; memory grows in proportion. With fewer training images than that the batch
	// is as large as they are.
	Batch int
	// LearningRate is the highest learning rate, above 0 to 1000; 0 is the preset's, which is adapted to the batch, or with
	// another optimiser than the preset's, at a batch of 256, 0.1 for SGD and 0.3 for LARS, which grow in proportion to the
	// batch, and 0.002 for AdamW and 0.02 for Muon, which grow with its root.
	LearningRate float64
	// Schedule moves the learning rate over the run; "" is Constant.
	Schedule Schedule
	// WarmUp is the share of the steps in which OneCycle and Trapezoid rise, 0 to 0.9.
	WarmUp float64
	// CoolDown is the share of the steps in which Trapezoid falls, and that of the steps that a run still makes when it
	// has stalled (see [StopOptions]), above 0 to 0.9; 0 is 0.2. With WarmUp it must not be above 1.
	CoolDown float64
	// Stop says when a run ends before its budget; the zero value is never.
	Stop StopOptions
	// Momentum of the updates, 0 to below 1; 0 is none.
	Momentum float64
	// Nesterov looks ahead along the momentum.
	Nesterov bool
	// WeightDecay is what each step adds of a weight to its gradient, 0 to 1; with AdamW and Muon it is the share of a
	// weight, times the learning rate, that a step takes off. Biases and batch normalisation have none.
	WeightDecay float64
	// Optimizer says how weights follow from gradients; the zero value is SGD.
	Optimizer OptimizerOptions
	// Average says how weights are averaged over the steps; the zero value is not at all.
	Average AverageOptions

	// Precision is that of the convolutions; "" is Float32. BFloat16 is an error where the processor lacks it.
	Precision Precision

	// Seed decides first weights, order, views and negatives. Equal seeds, options and images give equal weights, on
	// one machine whatever the number of threads.
	Seed uint64
	// Threads is the number of processors to use; 0 is all.
	Threads int
	// Corpus says where the decoded images are kept.
	Corpus CorpusOptions
	// HeldBack is the number of images that are kept out of the training and measured on now and then, at most half of
	// all. 0 is a tenth of the images, at most 2,000 and at least 50, but no more than a fifth of all, and none where there
	// are fewer than 50 images; negative is none.
	HeldBack int
	// TrainOnAll measures on the held-back images but trains on them as well, as the study did.
	TrainOnAll bool
	// CheckpointEvery is the time between two checkpoints; 0 is one minute. After a crash at most that much is lost.
	CheckpointEvery time.Duration

	// Program is the name and version of the program, recorded in the encoder file; "" is "imgsearch".
	Program string
	// OnLoaded, where it is not nil, is called from Run's goroutine once the images are loaded. Run does not use Data any
	// more, so the caller may close it and let go of it: a data set that is held in memory then makes room for the net.
	OnLoaded func()
	// OnProgress, where it is not nil, is called from Run's goroutine at most five times a second, and once at the end.
	OnProgress func(Progress)
	// OnProblem, where it is not nil, is called from Run's goroutine for each image that cannot be read and is left out.
	OnProblem func(dataset.Problem)

	now       func() time.Time // the clock; time.Now where nil
	afterStep func(step int)   // called after each step, for tests
}

const (
	minSize, maxSize = 16, 256
	minDim, maxDim   = 2, 1024
	maxBatch         = 8192
	maxMinutes       = 60 * 24 * 366
	maxSteps         = 1 << 40
	fewestImages     = 8
)

// complete fills in what is left to the preset and checks all fields. The learning rate stays 0 where the preset's
// holds, for it depends on the batch, which depends on the number of images.
func (o Options) complete() (Options, error) {
	fail := func(name string, value any, allowed string) (Options, error) {
		return Options{}, optionError(name, value, allowed)
	}
	p, err := o.recipe()
	if err != nil {
		return Options{}, err
	}
	if o.Data == nil {
		return fail("data", "none", "a data set")
	}
	if o.Resume && o.Out == "" {
		return fail("out", `""`, "the encoder file of the run to resume")
	}
	if o.Resume && o.Overwrite {
		return fail("overwrite", true, "false with resume")
	}

	if o, err = o.withNet(p); err != nil {
		return Options{}, err
	}
	if o, err = o.withLoss(); err != nil {
		return Options{}, err
	}
	if err := o.Views.validate(); err != nil {
		return Options{}, err
	}
	if err := o.Sizes.validate(o.Architecture); err != nil {
		return Options{}, err
	}
	if o.MultiView, err = o.MultiView.complete(o.Architecture, o.Loss, o.Sizes); err != nil {
		return Options{}, err
	}
	o.Sizes.Stages = slices.Clone(o.Sizes.Stages)

	budgets := 0
	for _, set := range []bool{o.Epochs != 0, o.Steps != 0, o.Minutes != 0} {
		if set {
			budgets++
		}
	}
	switch {
	case budgets > 1:
		return fail("budget", fmt.Sprintf("epochs %d, steps %d, minutes %v", o.Epochs, o.Steps, o.Minutes), "one of the three")
	case budgets == 0 && p == nil:
		return fail("budget", "none", "epochs, steps or minutes where there is no preset")
	case budgets == 0:
		o.Epochs, o.Steps, o.Minutes = p.epochs, p.steps, p.minutes
	}
	switch {
	case o.Epochs < 0 || o.Epochs > 1_000_000_000:
		return fail("epochs", o.Epochs, "1 to 1000000000")
	case o.Steps < 0 || o.Steps > maxSteps:
		return fail("steps", o.Steps, fmt.Sprintf("1 to %d", int64(maxSteps)))
	case !(o.Minutes >= 0 && o.Minutes <= maxMinutes):
		return fail("minutes", o.Minutes, fmt.Sprintf("above 0 to %d", maxMinutes))
	}

	if o, err = o.withBatch(p); err != nil {
		return Options{}, err
	}
	if o.LearningRate == 0 && p == nil {
		return fail("learning rate", 0, "given where there is no preset")
	}
	if !(o.LearningRate >= 0 && o.LearningRate <= 1000) {
		return fail("learning rate", o.LearningRate, "above 0 to 1000")
	}
	switch o.Schedule {
	case "":
		o.Schedule = Constant
	case Constant, OneCycle, Trapezoid:
	default:
		return fail("schedule", fmt.Sprintf("%q", string(o.Schedule)), fmt.Sprintf("%s, %s or %s", Constant, OneCycle, Trapezoid))
	}
	if !(o.WarmUp >= 0 && o.WarmUp <= 0.9) {
		return fail("warm-up", o.WarmUp, "0 to 0.9")
	}
	if o, err = o.withStop(); err != nil {
		return Options{}, err
	}
	if !(o.Momentum >= 0 && o.Momentum < 1) {
		return fail("momentum", o.Momentum, "0 to below 1")
	}
	if o.Nesterov && o.Momentum == 0 {
		return fail("nesterov", true, "false without momentum")
	}
	if !(o.WeightDecay >= 0 && o.WeightDecay <= 1) {
		return fail("weight decay", o.WeightDecay, "0 to 1")
	}
	if o.Optimizer, err = o.Optimizer.complete(); err != nil {
		return Options{}, err
	}
	if err := o.Average.validate(); err != nil {
		return Options{}, err
	}
	precision, err := o.Precision.complete()
	if err != nil {
		return Options{}, err
	}
	o.Precision = precision
	if o.Threads < 0 || o.Threads > 4096 {
		return fail("threads", o.Threads, "0 to 4096")
	}
	o.Threads = kernel.Threads(o.Threads)
	if o.CheckpointEvery < 0 {
		return fail("checkpoint every", o.CheckpointEvery, "positive, or 0 for a minute")
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = time.Minute
	}
	if o.Program == "" {
		o.Program = "imgsearch"
	}
	if o.OnLoaded == nil {
		o.OnLoaded = func() {}
	}
	if o.OnProgress == nil {
		o.OnProgress = func(Progress) {}
	}
	if o.OnProblem == nil {
		o.OnProblem = func(dataset.Problem) {}
	}
	if o.now == nil {
		o.now = time.Now
	}
	return o, nil
}

// recipe returns the preset, nil where there is none.
func (o Options) recipe() (*recipe, error) {
	if o.Preset == "" {
		return nil, nil
	}
	p := recipeByName(o.Preset)
	if p == nil {
		return nil, optionError("preset", fmt.Sprintf("%q", o.Preset), presetNames())
	}
	return p, nil
}

// withNet checks the net, or fills in that of the recipe, which may be nil.
func (o Options) withNet(p *recipe) (Options, error) {
	fail := func(name string, value any, allowed string) (Options, error) {
		return Options{}, optionError(name, value, allowed)
	}
	if len(o.Architecture.Layers) > 0 {
		if o.Size != 0 {
			return fail("size", o.Size, "0 where an architecture is given")
		}
		if o.Dim != 0 && !o.Finish.PCA {
			return fail("dim", o.Dim, "0 where an architecture is given")
		}
		o.Architecture = o.Architecture.Clone()
	} else {
		if p == nil {
			return fail("architecture", "without layers", "given where there is no preset")
		}
		if o.Size == 0 {
			o.Size = p.size
		}
		if o.Dim == 0 {
			o.Dim = p.dim
		}
		if o.Size < minSize || o.Size > maxSize {
			return fail("size", o.Size, fmt.Sprintf("%d to %d", minSize, maxSize))
		}
		if o.Dim < minDim || o.Dim > maxDim {
			return fail("dim", o.Dim, fmt.Sprintf("%d to %d", minDim, maxDim))
		}
		o.Architecture = p.net(o.Size, o.Dim)
		if len(o.Sizes.Stages) == 0 {
			o.Sizes = p.sizes(o.Size)
		}
	}
	a := o.Architecture
	if a.Std == [3]float32{} { // measured later; any valid value serves the check
		a.Std = [3]float32{1, 1, 1}
	}
	if err := a.Validate(); err != nil {
		return Options{}, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	o.Size = a.InputSize
	var err error
	if o.Finish, err = o.Finish.complete(); err != nil {
		return Options{}, err
	}
	if a, o.Dim, err = o.Finish.net(a, o.Dim); err != nil {
		return Options{}, err
	}
	o.Architecture.Layers = a.Layers
	return o, nil
}

// withBatch checks the batch, or fills in that of the recipe, which may be nil.
func (o Options) withBatch(p *recipe) (Options, error) {
	if o.Batch == 0 && p != nil {
		o.Batch = p.batch
	}
	if least := smallestBatch(o.Loss); o.Batch < least || o.Batch > maxBatch {
		return Options{}, optionError("batch", o.Batch, fmt.Sprintf("%d to %d", least, maxBatch))
	}
	return o, nil
}

// smallestBatch is the least number of groups: two where negatives come from the batch.
func smallestBatch(l LossOptions) int {
	if l.rows() == 3 {
		return 1
	}
	return 2
}

// peak returns the highest learning rate for a batch.
func (o Options) peak(batch int) float64 {
	if o.LearningRate > 0 {
		return o.LearningRate
	}
	p := recipeByName(o.Preset)
	if p.learningRate == 0 || o.Optimizer.name() != p.options.Optimizer.name() {
		return o.Optimizer.learningRate(batch)
	}
	return p.learningRate
}

// recorded is what of the options has an influence on the weights, as checkpoints and run records hold it.
type recorded struct {
	Preset       string           `json:"preset,omitempty"`
	Size         int              `json:"size"`
	Dim          int              `json:"dim"`
	Mean         [3]float32       `json:"mean"`
	Std          [3]float32       `json:"std"`
	Layers       []embedder.Layer `json:"layers"`
	Head         []embedder.Layer `json:"head,omitempty"`
	Finish       FinishOptions    `json:"finish,omitzero"`
	Loss         LossOptions      `json:"loss"`
	Target       TargetOptions    `json:"target,omitzero"`
	Views        ViewOptions      `json:"views"`
	MultiView    MultiViewOptions `json:"multi_view,omitzero"`
	Sizes        SizeOptions      `json:"sizes,omitzero"`
	Epochs       int              `json:"epochs,omitempty"`
	Steps        int              `json:"steps,omitempty"`
	Minutes      float64          `json:"minutes,omitempty"`
	Batch        int              `json:"batch"`
	LearningRate float64          `json:"learning_rate,omitempty"`
	Schedule     Schedule         `json:"schedule"`
	WarmUp       float64          `json:"warm_up"`
	CoolDown     float64          `json:"cool_down,omitempty"`
	Stop         StopOptions      `json:"stop,omitzero"`
	Momentum     float64          `json:"momentum"`
	Nesterov     bool             `json:"nesterov"`
	WeightDecay  float64          `json:"weight_decay"`
	Optimizer    OptimizerOptions `json:"optimizer"`
	Average      AverageOptions   `json:"average,omitzero"`
	Precision    Precision        `json:"precision"`
	Seed         uint64           `json:"seed"`
	HeldBack     int              `json:"held_back"`
	TrainOnAll   bool             `json:"train_on_all"`
}

// record returns the recorded part of complete options.
func (o Options) record() recorded {
	return recorded{
		Preset: o.Preset, Size: o.Size, Dim: o.Dim, Mean: o.Architecture.Mean, Std: o.Architecture.Std,
		Layers: o.Architecture.Layers, Head: o.Head, Finish: o.Finish, Loss: o.Loss, Target: o.Target, Views: o.Views,
		MultiView: o.MultiView, Sizes: o.Sizes,
		Epochs: o.Epochs, Steps: o.Steps, Minutes: o.Minutes, Batch: o.Batch, LearningRate: o.LearningRate,
		Schedule: o.Schedule, WarmUp: o.WarmUp, Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: o.WeightDecay,
		Optimizer: o.Optimizer, Average: o.Average, CoolDown: o.CoolDown, Stop: o.Stop,
		Precision: o.Precision, Seed: o.Seed, HeldBack: o.HeldBack, TrainOnAll: o.TrainOnAll,
	}
}

// heldBackCount says how many of the images are held back.
func (o Options) heldBackCount(images int) (int, error) {
	switch {
	case o.HeldBack < 0:
		return 0, nil
	case o.HeldBack == 0:
		if images < 50 {
			return 0, nil
		}
		return min(max(images/10, 50), images/5, 2000), nil
	case o.HeldBack > images/2:
		return 0, optionError("held back", o.HeldBack, fmt.Sprintf("at most %d, half of the images", images/2))
	}
	return o.HeldBack, nil
}

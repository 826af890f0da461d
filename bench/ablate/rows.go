package main

import (
	"imgsearch/embedder"
	"imgsearch/training"
)

// row is a recipe.
type row struct {
	name, about string
	change      func(*training.Options)
	// cost is what a step costs as a share of what is counted by the layers, measured in processor time; 0 is 1.
	cost float64
}

// reference is the recipe whose steps are the unit of the budget: two views by crop, flip and colour, a smooth triplet loss,
// SGD, and a small net whose last layer is trained.
func reference() training.Options {
	return training.Options{
		Architecture: net{}.architecture(32, 64),
		Loss:         smoothTriplet(.1),
		Views: training.ViewOptions{
			CropArea: .25, Flip: .5, Brightness: .4, Contrast: .4, Saturation: .4, Hue: .1, Gray: .2,
		},
		Batch: 256, LearningRate: .12, Schedule: training.OneCycle, WarmUp: .1, Momentum: .9, Nesterov: true, WeightDecay: 5e-4,
	}
}

func (r row) options(o options) (training.Options, error) {
	t := reference()
	t.Seed, t.Threads = o.seed, o.threads
	if o.precision != "" {
		t.Precision = training.Precision(o.precision)
	}
	if r.change != nil {
		r.change(&t)
	}
	return t, nil
}

// budget returns the number of steps of a recipe that the arithmetic of o.steps steps of the reference pays for, and that
// arithmetic, in units of 10^9 operations.
func budget(t training.Options, cost float64, o options) (steps int, gflop float64, err error) {
	all, err := stepFLOPs(reference())
	if err != nil {
		return 0, 0, err
	}
	each, err := stepFLOPs(t)
	if err != nil {
		return 0, 0, err
	}
	if cost > 0 {
		each *= cost
	}
	all *= float64(o.steps)
	return max(1, int(all/each+0.5)), all / 1e9, nil
}

// stepFLOPs is the number of operations of a step.
func stepFLOPs(t training.Options) (float64, error) {
	groups := t.Batch
	t.Batch = 2 // the operations of an image do not depend on it, the memory does
	b, err := t.BareStepOptions()
	if err != nil {
		return 0, err
	}
	step, err := training.NewBareStep(b)
	if err != nil {
		return 0, err
	}
	defer step.Close()
	return float64(step.FLOPs()) * float64(step.Images()) / float64(b.Groups) * float64(groups), nil
}

var (
	relu = embedder.Layer{Kind: embedder.ReLU}
	norm = embedder.Layer{Kind: embedder.BatchNorm}
	unit = embedder.Layer{Kind: embedder.L2Norm}
)

func linear(out int) embedder.Layer {
	return embedder.Layer{Kind: embedder.Linear, Out: out, Bias: true}
}

// head is a projection head of two layers.
func head(hidden, out int) []embedder.Layer {
	return []embedder.Layer{linear(hidden), norm, relu, linear(out), unit}
}

func ntXent(t float64) training.LossOptions {
	return training.LossOptions{Loss: training.LossNTXent, Temperature: t}
}

func smoothTriplet(t float64) training.LossOptions {
	return training.LossOptions{Loss: training.LossSmoothTriplet, Temperature: t}
}

// predictor is one of two layers.
func predictor(hidden, out int) []embedder.Layer {
	return []embedder.Layer{linear(hidden), norm, relu, linear(out)}
}

// featured has the loss see a linear map of the features to 64 values, and the encoder end in their principal components.
func featured(o *training.Options) {
	o.Finish, o.Head = training.FinishOptions{PCA: true, Whitening: .75}, []embedder.Layer{linear(64), unit}
}

// base is what the rows below differ from in one thing.
func base(o *training.Options) {
	featured(o)
	o.Optimizer.Optimizer, o.LearningRate, o.Momentum, o.WeightDecay = training.Muon, .02, .95, .02
}

// on returns a row that changes one thing of base.
func on(name, about string, change func(*training.Options)) row {
	return row{name: name, about: about, change: func(o *training.Options) {
		base(o)
		change(o)
	}}
}

// onAt is on for a change that makes a step dearer or cheaper than the layers tell.
func onAt(cost float64, name, about string, change func(*training.Options)) row {
	r := on(name, about, change)
	r.cost = cost
	return r
}

// onNet returns a row that changes the net of base.
func onNet(name, about string, n net) row {
	return on(name, about, func(o *training.Options) { o.Architecture = n.architecture(32, 64) })
}

var rows = []row{
	{name: "reference", about: "SGD, and a last layer that is trained"},
	{name: "finish/head-0", about: "principal components of the features, not whitened, a head of 256-64", change: func(o *training.Options) {
		o.Finish, o.Head = training.FinishOptions{PCA: true}, head(256, 64)
	}},
	{name: "finish/head-.5", about: "the same, half-whitened", change: func(o *training.Options) {
		o.Finish, o.Head = training.FinishOptions{PCA: true, Whitening: .5}, head(256, 64)
	}},
	{name: "finish/head-.5-nt", about: "the same, NT-Xent 0.2", change: func(o *training.Options) {
		o.Finish, o.Head = training.FinishOptions{PCA: true, Whitening: .5}, head(256, 64)
		o.Loss = ntXent(.2)
	}},
	{name: "finish/whitened", about: "the trained last layer half-whitened", change: func(o *training.Options) {
		o.Finish = training.FinishOptions{PCA: true, Whitening: .5, KeepLinear: true}
	}},
	{name: "optimizer/sgd", about: "principal components of the features, whitened by .75", change: featured},
	on("base", "the same, Muon in place of SGD: rate .02, momentum .95, decay .02", func(o *training.Options) {}),
	on("finish/mirror", "the mean with the mirror image", func(o *training.Options) { o.Finish.Mirror = true }),
	on("finish/.5", "half-whitened", func(o *training.Options) { o.Finish.Whitening = .5 }),
	on("loss/nt.2", "NT-Xent 0.2", func(o *training.Options) { o.Loss = ntXent(.2) }),
	on("loss/nt.1", "NT-Xent 0.1", func(o *training.Options) { o.Loss = ntXent(.1) }),
	on("loss/nt.5", "NT-Xent 0.5", func(o *training.Options) { o.Loss = ntXent(.5) }),
	on("loss/smooth.2", "smooth triplet 0.2", func(o *training.Options) { o.Loss = smoothTriplet(.2) }),
	on("loss/smooth.05", "smooth triplet 0.05", func(o *training.Options) { o.Loss = smoothTriplet(.05) }),
	on("batch/128", "128 anchors a step, rate .014", func(o *training.Options) { o.Batch, o.LearningRate = 128, .014 }),
	on("batch/512", "512 anchors a step, rate .028", func(o *training.Options) { o.Batch, o.LearningRate = 512, .028 }),
	on("batch/1024", "1,024 anchors a step, rate .04", func(o *training.Options) { o.Batch, o.LearningRate = 1024, .04 }),
	on("views/area.08", "crops from 0.08 of the area on", func(o *training.Options) { o.Views.CropArea = .08 }),
	on("views/area.15", "crops from 0.15 of the area on", func(o *training.Options) { o.Views.CropArea = .15 }),
	on("views/reflect", "crops beyond the border, reflected", func(o *training.Options) { o.Views.CropReflect = true }),
	on("views/color.8", "colours changed with probability 0.8", func(o *training.Options) { o.Views.ColorProbability = .8 }),
	on("rate/.01", "half the learning rate", func(o *training.Options) { o.LearningRate = .01 }),
	on("rate/.05", "learning rate .05", func(o *training.Options) { o.LearningRate = .05 }),
	on("decay/.1", "weight decay .1", func(o *training.Options) { o.WeightDecay = .1 }),
	on("loss/decoupled.1", "decoupled NT-Xent 0.1", func(o *training.Options) {
		o.Loss = training.LossOptions{Loss: training.LossDecoupledNTXent, Temperature: .1}
	}),
	on("loss/align-uniform", "alignment and uniformity", func(o *training.Options) {
		o.Loss = training.LossOptions{Loss: training.LossAlignUniform}
	}),
	on("loss/vicreg", "VICReg behind a head 256-256", func(o *training.Options) {
		o.Loss, o.Head = training.LossOptions{Loss: training.LossVICReg}, head(256, 256)[:4]
	}),
	on("loss/barlow", "Barlow Twins behind a head 256-256", func(o *training.Options) {
		o.Loss, o.Head = training.LossOptions{Loss: training.LossBarlowTwins}, head(256, 256)[:4]
	}),
	on("head/256", "head 256-64", func(o *training.Options) { o.Head = head(256, 64) }),
	on("head/512", "head 512-128", func(o *training.Options) { o.Head = head(512, 128) }),
	on("head/linear128", "a linear head to 128", func(o *training.Options) { o.Head = []embedder.Layer{linear(128), unit} }),
	on("head/none", "no head", func(o *training.Options) { o.Head = []embedder.Layer{unit} }),
	on("average/.999", "averaged weights", func(o *training.Options) { o.Average.Decay = .999 }),
	{name: "optimizer/adamw", about: "AdamW in place of SGD, rate .002, decay .05", change: func(o *training.Options) {
		featured(o)
		o.Optimizer.Optimizer, o.LearningRate, o.Nesterov, o.WeightDecay = training.AdamW, .002, false, .05
	}},
	{name: "optimizer/lars", about: "LARS in place of SGD, rate .3, decay 1e-4", change: func(o *training.Options) {
		featured(o)
		o.Optimizer.Optimizer, o.LearningRate, o.Nesterov, o.WeightDecay = training.LARS, .3, false, 1e-4
	}},
	{name: "optimizer/sgd.25", about: "SGD at twice the rate", change: func(o *training.Options) {
		featured(o)
		o.LearningRate = .25
	}},
	onAt(.68, "sizes/16-24-32", "images of 16, 24 and 32 pixels for .4, .3 and .3 of the steps", func(o *training.Options) {
		o.Sizes.Stages = []training.SizeStage{{Share: .4, Size: 16}, {Share: .3, Size: 24}, {Share: .3, Size: 32}}
	}),
	onAt(.855, "sizes/24-32", "images of 24 and 32 pixels for half of the steps each", func(o *training.Options) {
		o.Sizes.Stages = []training.SizeStage{{Share: .5, Size: 24}, {Share: .5, Size: 32}}
	}),
	onAt(1.24, "crops/2", "2 crops of 16 pixels beside the two views", func(o *training.Options) { o.MultiView.Crops = 2 }),
	onAt(1.66, "crops/4", "4 crops of 16 pixels beside the two views", func(o *training.Options) { o.MultiView.Crops = 4 }),
	onAt(1.66, "crops/4-large", "4 crops of 16 pixels, of .15 to .5 of the area", func(o *training.Options) {
		o.MultiView.Crops, o.MultiView.CropAreaLeast, o.MultiView.CropAreaMost = 4, .15, .5
	}),
	onAt(2.02, "views/4", "4 views", func(o *training.Options) { o.MultiView.Views = 4 }),
	onAt(2.08, "loss/emp4", "EMP-SSL, 4 views", func(o *training.Options) {
		o.MultiView.Views, o.Loss = 4, training.LossOptions{Loss: training.LossEMP}
	}),
	on("target/moco", "momentum encoder, queue of 4,096", func(o *training.Options) {
		o.Loss, o.Target = training.LossOptions{}, training.TargetOptions{
			Target: training.TargetMomentum, Loss: training.TargetInfoNCE, Queue: 4096,
		}
	}),
	on("target/nnclr", "neighbours of a momentum encoder's keys, queue of 4,096", func(o *training.Options) {
		o.Loss, o.Target = training.LossOptions{}, training.TargetOptions{
			Target: training.TargetMomentum, Loss: training.TargetInfoNCE, Queue: 4096, Neighbour: true,
			Predictor: predictor(256, 64),
		}
	}),
	on("target/byol", "BYOL, head and predictor of 256", func(o *training.Options) {
		o.Loss, o.Head, o.Target = training.LossOptions{}, head(256, 64)[:4], training.TargetOptions{
			Target: training.TargetMomentum, Loss: training.TargetCosine, DecayToOne: true, Predictor: predictor(256, 64),
		}
	}),
	on("target/simsiam", "SimSiam, head and predictor of 256", func(o *training.Options) {
		o.Loss, o.Head, o.Target = training.LossOptions{}, head(256, 64)[:4], training.TargetOptions{
			Target: training.TargetStopGradient, Loss: training.TargetCosine, Predictor: predictor(256, 64),
		}
	}),
	onNet("net/24", "widths 24-48-96", net{widths: [3]int{24, 48, 96}}),
	onNet("net/48", "widths 48-96-192", net{widths: [3]int{48, 96, 192}}),
	onNet("net/64", "widths 64-128-256", net{widths: [3]int{64, 128, 256}}),
	onNet("net/deep", "two residual blocks a stage", net{blocks: 2}),
	onNet("net/two", "two convolutions a residual block", net{twoConvs: true}),
	onNet("net/plain-first", "the first layer trained", net{plainFirst: true}),
	onNet("net/late", "widths 16-32-64-wide grid: no first pooling, stride 2 three times", net{pool: 1, strides: [3]int{2, 2, 2}}),
	onNet("net/late-first", "no first pooling, strides 1, 2, 2", net{pool: 1, widths: [3]int{16, 48, 128}}),
	onNet("net/early", "pooled by 2, strides 2, 2, 1", net{strides: [3]int{2, 2, 1}}),
	onNet("net/coarse", "strides 1, 2, 1: the last stage at 8x8", net{strides: [3]int{1, 2, 1}}),
	onNet("net/dilated-1-2-5", "dilations 1, 2, 5 in the stages", net{dilations: [3]int{1, 2, 5}}),
	onNet("net/dilated-1-1-2", "dilation 2 in the last stage", net{dilations: [3]int{1, 1, 2}}),
}

package training

import (
	"slices"
	"strings"

	"imgsearch/embedder"
)

// Preset describes a recipe by name.
type Preset struct {
	// Name is what [PresetByName] takes.
	Name string
	// Summary says in one line what the recipe is for.
	Summary string
	// Minutes or Epochs is the budget where none is given; the other is 0.
	Minutes float64
	Epochs  int
	// Batch, Size and Dim are the values of the options of the same names.
	Batch, Size, Dim int
}

// Presets lists the recipes, the one to use by default first.
func Presets() []Preset {
	out := make([]Preset, len(recipes))
	for i, r := range recipes {
		out[i] = Preset{Name: r.name, Summary: r.summary, Minutes: r.minutes, Epochs: r.epochs, Batch: r.batch, Size: r.size, Dim: r.dim}
	}
	return out
}

// PresetByName returns the options of a recipe, ready for Data and Out. An unknown name is ErrOptions and lists those
// that there are.
func PresetByName(name string) (Options, error) {
	r := recipeByName(name)
	if r == nil {
		return Options{}, optionError("preset", name, presetNames())
	}
	o := r.options
	o.Preset, o.Batch = r.name, r.batch
	return o, nil
}

// recipe is a preset with its parts.
type recipe struct {
	name, summary string
	size, dim     int
	net           func(size, dim int) embedder.Architecture

	epochs, steps int
	minutes       float64
	batch         int
	// learningRate is the highest one; 0 is the optimiser's.
	learningRate float64
	// grows has the first half of the steps made on images of three quarters of the side.
	grows bool

	options Options
}

func recipeByName(name string) *recipe {
	if i := slices.IndexFunc(recipes, func(r recipe) bool { return r.name == name }); i >= 0 {
		return &recipes[i]
	}
	return nil
}

func presetNames() string {
	var names []string
	for _, r := range recipes {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ")
}

// twoViews are SimCLR's views for small images (Chen et al. 2020, arXiv 2002.05709, appendix B.9) with colour changes of half
// strength.
var twoViews = ViewOptions{CropArea: 0.25, Flip: 0.5, Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1, Gray: 0.2}

// recipes lists the presets. Those made by timed are one recipe for different amounts of time. docs/recipe.md says what each
// of its parts is worth.
var recipes = []recipe{
	timed("default", "two views by crop, flip and colour, negatives from the whole batch; a small residual net; 2 hours", 120, 256, 48, 96, 192),
	timed("fast", "the same with a narrower net, 10 minutes", 10, 256, 32, 64, 128),
	timed("best", "the same with a wider net, overnight", 600, 256, 64, 128, 256),
	timed("tiny", "the same in small, for a first look within seconds", 0.25, 128, 16, 32, 64),
	{
		name:    "seed",
		summary: "the study that imgsearch grew from, exactly: dropout positives, random negatives, one triplet a step",
		size:    32, dim: 64,
		net:    studyNet,
		epochs: 2, batch: 1, learningRate: 0.001,
		options: Options{
			Loss:     LossOptions{Loss: LossTriplet, Miner: MinerRandom, Margin: 0.5},
			Views:    ViewOptions{AnchorPlain: true, Dropout: 0.4},
			Schedule: Constant, Momentum: 0.9, TrainOnAll: true,
		},
	},
}

// timed is the recipe for a budget of minutes: with more of them a wider net, of widths a, b and c, pays.
func timed(name, summary string, minutes float64, batch, a, b, c int) recipe {
	return recipe{
		name: name, summary: summary, size: 32, dim: 64,
		net:     func(size, dim int) embedder.Architecture { return residualNet(size, dim, a, b, c) },
		minutes: minutes, batch: batch, grows: true,
		options: Options{
			Loss: LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}, Views: twoViews,
			Head:      []embedder.Layer{{Kind: embedder.Linear, Out: 64, Bias: true}, {Kind: embedder.L2Norm}},
			Finish:    FinishOptions{PCA: true, Whitening: 0.75, Mirror: true},
			Optimizer: OptimizerOptions{Optimizer: Muon}, Schedule: OneCycle, WarmUp: 0.1, Momentum: 0.95, Nesterov: true,
			WeightDecay: 0.02,
		},
	}
}

// sizes are the stages of a recipe for images of a size.
func (r *recipe) sizes(size int) SizeOptions {
	small := size * 3 / 4 / 8 * 8
	if !r.grows || small < minSize {
		return SizeOptions{}
	}
	return SizeOptions{Stages: []SizeStage{{Share: 0.5, Size: small}, {Share: 0.5, Size: size}}}
}

// studyNet is the study's net for other sizes and dims too.
func studyNet(size, dim int) embedder.Architecture {
	a := embedder.SeedArchitecture()
	a.InputSize = size
	a.Layers[len(a.Layers)-1].Out = dim
	return a
}

// residualNet is the encoder of the presets: patch whitening; max-pooling to a grid of about 16x16; three stages of
// widths a, b and c, each a convolution and a residual block, at half the grid's side from stage to stage; the mean
// over the grid; a linear map to dim values; length 1. Mean and Std are left to be measured.
//
// Pooling comes first because work at full size is the dearest and buys least for its price; its side grows with size,
// so that larger images cost little more than the first layer does.
func residualNet(size, dim, a, b, c int) embedder.Architecture {
	relu := embedder.Layer{Kind: embedder.ReLU}
	norm := embedder.Layer{Kind: embedder.BatchNorm}
	conv := func(out, stride int) embedder.Layer {
		return embedder.Layer{Kind: embedder.Conv, Out: out, Kernel: 3, Pad: 1, Stride: stride}
	}
	block := func(width int) embedder.Layer {
		return embedder.Layer{Kind: embedder.Residual, Body: []embedder.Layer{conv(width, 1), norm, relu}}
	}
	pool := max(2, (size+8)/16)
	layers := []embedder.Layer{
		{Kind: embedder.Conv, Out: 54, Kernel: 3, Pad: 1, Frozen: true, Init: embedder.InitWhiten},
		{Kind: embedder.MaxPool, Kernel: pool, Stride: pool},
		relu, // after the pooling, which it commutes with: fewer values
		conv(a, 1), norm, relu, block(a),
		conv(b, 2), norm, relu, block(b),
		conv(c, 2), norm, relu, block(c),
		{Kind: embedder.GlobalMean},
		{Kind: embedder.Linear, Out: dim, Bias: true},
		{Kind: embedder.L2Norm},
	}
	return embedder.Architecture{InputSize: size, Layers: layers}
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/training"
)

// row is an amount of work that both sides do in turns.
type row struct {
	name string
	// net and title name the work in the tables.
	net, title string
	isa        string
	work       work
	// variants are the ways of running the peer; the best counts. A variant is contiguous or channels_last, the order of
	// values in memory; "+jit", "+compile" or "+bf16" for code made by torch.jit or torch.compile, or bfloat16 autocast;
	// and for embeddings "/" and the number of images in a batch.
	variants []string
	// compiled is the end of the name of one more variant, torch.compile with the layout of the best one; "": none.
	compiled string
	// shown are variants that do not count.
	shown []string
	// best is how many variants, by the runs that do not count, take part in the race.
	best int
	// warmRuns is the number of runs that do not count, beside those that both sides must agree on; warm and units are the units of work (steps, or images) of such a
	// run and of a turn; units 0: as many as fit in turnTime.
	warmRuns, warm, units int
	// rounds is the number of rounds.
	rounds int
	// checkRate is the learning rate of the steps that both sides must agree on.
	checkRate float64
	// images in a unit, and what a unit's images take in operations, gradients included.
	images int
	flops  int64
}

// timedRate is the learning rate of steps that are timed: so low that the loss does not fade away, which would make
// steps cheaper.
const timedRate = 1e-6

// plan is what the rows are made of.
type plan struct {
	folder string
	seed   uint64
	rounds int
	quick  bool
	pixels []byte // images for the rows of inference, [N, 32, 32, 3]
	source string // where they come from
}

// makeRows returns all rows that workers do.
func makeRows(p plan) ([]row, error) {
	study := training.BareStepOptions{
		Architecture: embedder.SeedArchitecture(),
		Loss:         training.LossOptions{Loss: training.LossTriplet, Miner: training.MinerRandom, Margin: 0.5},
		Groups:       32, Momentum: 0.9,
	}
	preset, err := presetStep("default")
	if err != nil {
		return nil, err
	}
	var rows []row
	add := func(name, net string, o training.BareStepOptions, checkRate float64) {
		rows = append(rows, p.training(name, net, o, checkRate))
	}
	add("n77-128", "N77", n77Step(64), 0.05)
	add("n77-512", "N77", n77Step(256), 0.05)
	add("seed", "study", study, 0.001)
	add("default", "default", preset, 0.05)
	inference, err := p.inference(preset.Architecture)
	if err != nil {
		return nil, err
	}
	rows = append(rows, inference...)
	for _, name := range []string{"n77-128", "default"} {
		r := rows[slices.IndexFunc(rows, func(r row) bool { return r.name == name })]
		r.name, r.isa, r.title = isaAVX2+"-"+r.name, isaAVX2, r.title+", AVX2"
		r.shown = nil
		rows = append(rows, r)
	}
	for i := range rows {
		if p.quick {
			rows[i].compiled = ""
		}
	}
	return rows, nil
}

// training makes the row of a training step.
func (p plan) training(name, net string, o training.BareStepOptions, checkRate float64) row {
	perGroup := 2
	if o.Loss.Miner == training.MinerRandom {
		perGroup = 3
	}
	if o.Architecture.Std == [3]float32{} {
		o.Architecture.Std = [3]float32{1, 1, 1}
	}
	images := perGroup * o.Groups
	return row{
		name: name, net: net, title: fmt.Sprintf("training step of %s, %d images", net, images),
		work: work{
			Kind: "train", Architecture: o.Architecture, Tensors: filepath.Join(p.folder, name+".safetensors"),
			Head: o.Head, Loss: o.Loss, Groups: o.Groups, Momentum: o.Momentum, WeightDecay: o.WeightDecay,
			Nesterov: o.Nesterov, Rate: timedRate, Seed: p.seed,
		},
		variants: []string{"contiguous", "channels_last"}, compiled: "+compile", shown: []string{"channels_last+bf16"},
		best: 3, warmRuns: 1, warm: 1, rounds: p.rounds, checkRate: checkRate, images: images,
	}
}

// inference makes the rows of embeddings, and the files that they need.
func (p plan) inference(a embedder.Architecture) ([]row, error) {
	if a.Std == [3]float32{} {
		a.Mean, a.Std = [3]float32{0.49, 0.48, 0.45}, [3]float32{0.25, 0.24, 0.26}
	}
	tensors, pixels := filepath.Join(p.folder, "encoder.safetensors"), filepath.Join(p.folder, "pixels")
	if err := writeTensors(tensors, trainedWeights(a, p.seed)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(pixels, p.pixels, 0o600); err != nil {
		return nil, err
	}
	count := len(p.pixels) / (3 * a.InputSize * a.InputSize)
	r := row{
		work: work{Kind: "embed", Architecture: a, Tensors: tensors, Pixels: pixels},
		net:  "default", images: 1, flops: a.FLOPs(),
	}
	var variants, ones []string
	for _, mode := range []string{"", "+jit"} {
		for _, layout := range []string{"contiguous", "channels_last"} {
			ones = append(ones, layout+mode+"/1")
			for _, batch := range []int{128, 256, 1000} {
				variants = append(variants, fmt.Sprintf("%s%s/%d", layout, mode, batch))
			}
		}
	}
	r.warmRuns = 2
	many, one := r, r
	many.name, many.title = "embed", fmt.Sprintf("embeddings of %d images (%s)", count, p.source)
	many.variants, many.compiled, many.best = variants, "+compile/256", 2
	many.warm, many.units, many.rounds = min(count, 2000), count, (p.rounds+1)/2
	one.name, one.title = "latency", "embedding of one image, warm"
	one.work.OneByOne = true
	one.variants, one.compiled, one.best = ones, "+compile/1", 2
	one.warm, one.units, one.rounds = 50, 100, p.rounds
	return []row{many, one}, nil
}

// presetStep returns the training step of a preset.
func presetStep(name string) (training.BareStepOptions, error) {
	o, err := training.PresetByName(name)
	if err != nil {
		return training.BareStepOptions{}, err
	}
	return o.BareStepOptions()
}

// n77Step is the step of a plain net of 77 MFLOP an image: six convolutions with batch normalisation and ReLU.
func n77Step(groups int) training.BareStepOptions {
	a := embedder.Architecture{InputSize: 32, Std: [3]float32{1, 1, 1}}
	for _, c := range []struct{ out, stride int }{{32, 1}, {32, 1}, {64, 2}, {64, 1}, {128, 2}, {128, 1}} {
		a.Layers = append(a.Layers,
			embedder.Layer{Kind: embedder.Conv, Out: c.out, Kernel: 3, Stride: c.stride, Pad: 1},
			embedder.Layer{Kind: embedder.BatchNorm}, embedder.Layer{Kind: embedder.ReLU})
	}
	a.Layers = append(a.Layers, embedder.Layer{Kind: embedder.GlobalMean},
		embedder.Layer{Kind: embedder.Linear, Out: 64, Bias: true}, embedder.Layer{Kind: embedder.L2Norm})
	return training.BareStepOptions{
		Architecture: a, Loss: training.LossOptions{Loss: training.LossSmoothTriplet, Temperature: 0.1}, Groups: groups,
		Momentum: 0.9, Nesterov: true, WeightDecay: 5e-4,
	}
}

// trainedWeights draws weights whose batch normalisation has statistics and scales as training leaves them, so that
// there is something to fold.
func trainedWeights(a embedder.Architecture, seed uint64) embedder.Weights {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := embedder.InitWeights(a, rng)
	for _, p := range a.Parameters() { // in a fixed order
		for i := range w[p.Name].Data {
			v := &w[p.Name].Data[i]
			switch p.Role {
			case embedder.RoleScale:
				*v = 0.5 + rng.Float32()
			case embedder.RoleShift, embedder.RoleRunningMean:
				*v = 0.2 * (rng.Float32() - 0.5)
			case embedder.RoleRunningVar:
				*v = 0.5 + rng.Float32()
			}
		}
	}
	return w
}

// loadPixels returns the images of a data set, [N, 32, 32, 3], at most so many, or random ones where name is "".
func loadPixels(ctx context.Context, name string, count int, seed uint64) ([]byte, string, error) {
	const side, size = 32, 3 * 32 * 32
	if name == "" {
		rng := rand.New(rand.NewPCG(seed, 2))
		pixels := make([]byte, count*size)
		for i := range pixels {
			pixels[i] = byte(rng.Uint32())
		}
		return pixels, "random", nil
	}
	name = part(name, "test")
	ds, err := dataset.Open(ctx, name, dataset.Options{})
	if err != nil {
		return nil, "", err
	}
	defer ds.Close()
	var pixels []byte
	for i := range min(count, ds.Len()) {
		s, err := ds.Read(ctx, i)
		if err != nil {
			return nil, "", err
		}
		pixels = append(pixels, s.Image.Square(side).Pix...)
	}
	return pixels, "the test images of --data", nil
}

// part names a part of a data set that --data names as a whole.
func part(name, part string) string { return strings.TrimSuffix(name, ":"+part) + ":" + part }

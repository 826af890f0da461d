package training

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"imgsearch/embedder"
)

func TestPresetsAreComplete(t *testing.T) {
	for _, p := range Presets() {
		for _, size := range []int{32, 48, 64, 96} {
			o, err := PresetByName(p.Name)
			if err != nil {
				t.Fatal(err)
			}
			o.Data, o.Size, o.Dim = stripes(8, 16, 2), size, 24
			c, err := o.complete()
			if err != nil {
				t.Fatalf("%s at size %d: %v", p.Name, size, err)
			}
			if c.Size != size || c.Dim != 24 || c.Architecture.OutputDim() != 0 && c.Architecture.OutputDim() != 24 {
				t.Errorf("%s: size %d, dim %d", p.Name, c.Size, c.Dim)
			}
			if p.Summary == "" || p.Batch == 0 || p.Size == 0 || p.Dim == 0 || (p.Minutes == 0) == (p.Epochs == 0) {
				t.Errorf("preset %+v", p)
			}
			if p.Name != "seed" { // the size of the image hardly changes what follows the first layer
				a := c.Architecture
				a.Std = [3]float32{1, 1, 1}
				t.Logf("%s at %d: %.1f MFLOP, %d parameters", p.Name, size, float64(a.FLOPs())/1e6, a.ParameterCount())
			}
		}
	}
	if _, err := PresetByName("nope"); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "default") {
		t.Errorf("unknown preset: %v", err)
	}
}

func TestSeedPresetIsTheStudy(t *testing.T) {
	o, err := PresetByName("seed")
	if err != nil {
		t.Fatal(err)
	}
	o.Data = stripes(8, 16, 2)
	c, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	if c.Loss.Loss != LossTriplet || c.Loss.Miner != MinerRandom || c.Loss.Margin != 0.5 || c.Batch != 1 || c.Epochs != 2 ||
		c.peak(1) != 0.001 || c.peak(64) != 0.001 || c.Momentum != 0.9 || c.Nesterov || c.WeightDecay != 0 || c.Schedule != Constant {
		t.Errorf("%+v", c)
	}
	if c.Views != (ViewOptions{AnchorPlain: true, Dropout: 0.4}) {
		t.Errorf("views %+v", c.Views)
	}
	if c.Loss.rows() != 3 {
		t.Errorf("%d rows a triplet", c.Loss.rows())
	}
	if n := c.Architecture.ParameterCount(); n < 8_900_000 || n > 9_100_000 || c.Architecture.Mean != halfMean || c.Architecture.Std != halfStd {
		t.Errorf("%d parameters, mean %v, std %v", n, c.Architecture.Mean, c.Architecture.Std)
	}
}

func TestLearningRateFollowsBatch(t *testing.T) {
	o, err := PresetByName("default")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := o.peak(256), o.peak(64); math.Abs(a-2*b) > 1e-12 { // as Muon has it: by the root
		t.Errorf("rate %v for 256 and %v for 64", a, b)
	}
	o.LearningRate = 0.5
	if o.peak(256) != 0.5 || o.peak(64) != 0.5 {
		t.Error("a rate that was given is changed")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"data none":                          func(o *Options) { o.Data = nil },
		`preset "nope"`:                      func(o *Options) { o.Preset = "nope" },
		"size 16: must be 0":                 func(o *Options) { o.Size = 16 },
		"dim 8: must be 0":                   func(o *Options) { o.Dim = 8 },
		"architecture without":               func(o *Options) { o.Architecture = embedder.Architecture{} },
		"size 15: must be 16 to 256":         func(o *Options) { o.Architecture, o.Preset, o.Size = embedder.Architecture{}, "default", 15 },
		"dim 1: must be 2 to 1024":           func(o *Options) { o.Architecture, o.Preset, o.Dim = embedder.Architecture{}, "default", 1 },
		"unusable architecture":              func(o *Options) { o.Architecture.Layers = o.Architecture.Layers[:1] },
		"budget epochs 1, steps 40":          func(o *Options) { o.Epochs = 1 },
		"budget none":                        func(o *Options) { o.Steps = 0 },
		"steps -1":                           func(o *Options) { o.Steps = -1 },
		"epochs -1":                          func(o *Options) { o.Steps, o.Epochs = 0, -1 },
		"minutes NaN":                        func(o *Options) { o.Steps, o.Minutes = 0, math.NaN() },
		"batch 0":                            func(o *Options) { o.Batch = 0 },
		"batch 9000":                         func(o *Options) { o.Batch = 9000 },
		"learning rate 0":                    func(o *Options) { o.LearningRate = 0 },
		"learning rate -1":                   func(o *Options) { o.LearningRate = -1 },
		"learning rate NaN":                  func(o *Options) { o.LearningRate = math.NaN() },
		`schedule "zigzag"`:                  func(o *Options) { o.Schedule = "zigzag" },
		"warm-up 1":                          func(o *Options) { o.WarmUp = 1 },
		"momentum 1":                         func(o *Options) { o.Momentum = 1 },
		"nesterov true":                      func(o *Options) { o.Momentum = 0 },
		"weight decay 2":                     func(o *Options) { o.WeightDecay = 2 },
		`precision "half"`:                   func(o *Options) { o.Precision = "half" },
		"threads -1":                         func(o *Options) { o.Threads = -1 },
		"held back 31: must be at most 30":   func(o *Options) { o.HeldBack = 31 },
		"views: crop area 2: must be 0 to 1": func(o *Options) { o.Views.CropArea = 2 },
		"views: dropout 1":                   func(o *Options) { o.Views.Dropout = 1 },
		"views: hue NaN":                     func(o *Options) { o.Views.Hue = math.NaN() },
		"out \"\"":                           func(o *Options) { o.Resume, o.Out = true, "" },
		"overwrite true":                     func(o *Options) { o.Resume, o.Overwrite = true, true },
	} {
		o := miniOptions(t)
		change(&o)
		if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestHeadOfLoss: losses that cannot have outputs of length 1 get a projection head where there is none.
func TestHeadOfLoss(t *testing.T) {
	linear := []embedder.Layer{{Kind: embedder.Linear, Out: 8}}
	unit := []embedder.Layer{{Kind: embedder.Linear, Out: 8}, {Kind: embedder.L2Norm}}
	for _, test := range []struct {
		loss LossOptions
		net  string
		head []embedder.Layer
		want []int // widths of its linear layers
	}{
		{LossOptions{Loss: LossVICReg}, "default", nil, []int{256, 256}},
		{LossOptions{Loss: LossBarlowTwins}, "default", nil, []int{256, 256}},
		{LossOptions{Loss: LossBarlowTwins}, "default", linear, []int{8}},
		{LossOptions{Loss: LossVICReg}, "seed", nil, nil},
		{LossOptions{Loss: LossAlignUniform}, "default", nil, nil},
		{LossOptions{Loss: LossAlignUniform}, "default", unit, []int{8}},
	} {
		o, err := PresetByName(test.net)
		if err != nil {
			t.Fatal(err)
		}
		o.Data, o.Batch, o.Loss, o.Head = stripes(8, 16, 8), 4, test.loss, test.head
		got, err := o.complete()
		if err != nil {
			t.Fatalf("%s: %v", test.loss.Loss, err)
		}
		var widths []int
		for _, l := range got.Head {
			if l.Kind == embedder.Linear {
				widths = append(widths, l.Out)
			}
		}
		if !slices.Equal(widths, test.want) {
			t.Errorf("%s of %s: head of %v, want %v", test.loss.Loss, test.net, widths, test.want)
		}
		if bare, err := o.BareStepOptions(); err != nil || len(bare.Head) != len(got.Head) {
			t.Errorf("%s of %s: a bare step has head %v, error %v", test.loss.Loss, test.net, bare.Head, err)
		}
		if again, err := got.withLoss(); err != nil || len(again.Head) != len(got.Head) || again.Loss != got.Loss {
			t.Errorf("%s of %s: completed again: %v, error %v", test.loss.Loss, test.net, again.Head, err)
		}
	}
	for dim, want := range map[int]int{2: 8, 64: 256, 128: 512, 256: 512, 1024: 1024} {
		if got := projectionHead(dim)[0].Out; got != want {
			t.Errorf("on %d values: %d, want %d", dim, got, want)
		}
	}
	o, err := PresetByName("default")
	if err != nil {
		t.Fatal(err)
	}
	o.Data, o.Loss, o.Head = stripes(8, 16, 8), LossOptions{Loss: LossVICReg}, unit
	if _, err := o.complete(); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "head ends in l2norm") {
		t.Errorf("a head that ends in L2Norm: error %v", err)
	}
}

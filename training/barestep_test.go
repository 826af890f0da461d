package training

import (
	"errors"
	"testing"
	"time"

	"imgsearch/embedder"
)

// TestBareStepIsTheRunsStep: of options made from a preset, what a run would train.
func TestBareStepIsTheRunsStep(t *testing.T) {
	o, err := PresetByName("tiny")
	if err != nil {
		t.Fatal(err)
	}
	o.Batch, o.Threads, o.Size = 4, 1, 16
	options, err := o.BareStepOptions()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBareStep(options)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Images() != 8 {
		t.Errorf("%d images a step, want 8", b.Images())
	}
	// The last layer is none that is trained: it comes with the finish.
	if want := len(recipeByName("tiny").net(16, 64).Layers) - 2; len(options.Architecture.Layers) != want || len(options.Head) != 2 {
		t.Errorf("%d layers and %d of a head, want the preset's %d and 2", len(options.Architecture.Layers), len(options.Head), want)
	}
	if !options.Nesterov || options.Momentum != 0.95 || options.WeightDecay != 0.02 || options.Optimizer.Optimizer != Muon {
		t.Errorf("solver %+v, want the preset's", options)
	}
	before := b.net.weights()
	s, err := b.Run(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Durations) != 3 {
		t.Errorf("%d steps, want 3", len(s.Durations))
	}
	if s.ImagesPerSecond() <= 0 || s.FLOPsPerSecond() <= 0 || s.BytesPerStep < 0 {
		t.Errorf("speed %v images/s, %v FLOP/s, %d bytes a step", s.ImagesPerSecond(), s.FLOPsPerSecond(), s.BytesPerStep)
	}
	changed := false
	for name, w := range b.net.weights() {
		for i := range w.Data {
			changed = changed || w.Data[i] != before[name].Data[i]
		}
	}
	if !changed {
		t.Error("three steps changed no weight")
	}
	if s, err = b.Run(0, 20*time.Millisecond); err != nil || len(s.Durations) == 0 {
		t.Errorf("for a time: %d steps, error %v", len(s.Durations), err)
	}
}

func TestBareStepOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no net":         {Loss: LossOptions{Loss: LossMSE}, Batch: 2},
		"no batch":       {Loss: LossOptions{Loss: LossMSE}, Architecture: miniNet(16)},
		"unknown preset": {Preset: "none"},
	} {
		if _, err := o.BareStepOptions(); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: error %v, want ErrOptions", name, err)
		}
	}
	for name, o := range map[string]BareStepOptions{
		"no loss":     {Architecture: miniNet(16), Groups: 2},
		"no groups":   {Architecture: miniNet(16), Loss: LossOptions{Loss: LossMSE}},
		"many groups": {Architecture: miniNet(16), Loss: LossOptions{Loss: LossMSE}, Groups: maxBatch + 1},
	} {
		if _, err := NewBareStep(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: error %v, want ErrOptions", name, err)
		}
	}
	if _, err := NewBareStep(BareStepOptions{Loss: LossOptions{Loss: LossMSE}, Groups: 2}); !errors.Is(err, embedder.ErrArchitecture) {
		t.Errorf("no architecture: error %v", err)
	}
}

func TestStepFLOPs(t *testing.T) {
	conv := func(frozen bool) embedder.Layer {
		return embedder.Layer{Kind: embedder.Conv, Out: 3, Kernel: 1, Frozen: frozen} // 2*3*3*4*4 = 288
	}
	norm := func(frozen bool) embedder.Layer { return embedder.Layer{Kind: embedder.BatchNorm, Frozen: frozen} }
	mean := embedder.Layer{Kind: embedder.GlobalMean}
	linear := embedder.Layer{Kind: embedder.Linear, Out: 2} // 12
	for _, c := range []struct {
		name           string
		layers, head   []embedder.Layer
		forward, whole int64
	}{
		{"first layer has no gradient of its input", []embedder.Layer{conv(false), mean}, nil, 288, 2 * 288},
		{"two layers", []embedder.Layer{conv(false), conv(false), mean}, nil, 2 * 288, 5 * 288},
		{"first layer frozen", []embedder.Layer{conv(true), conv(false), mean}, nil, 2 * 288, 3 * 288},
		{"second layer frozen", []embedder.Layer{conv(false), conv(true), mean}, nil, 2 * 288, 4 * 288},
		{"batch normalisation is trained", []embedder.Layer{norm(false), conv(true), mean}, nil, 288, 2 * 288},
		{"frozen batch normalisation is not", []embedder.Layer{norm(true), conv(true), mean, linear}, nil, 300, 300 + 12},
		{"body", []embedder.Layer{conv(true), {Kind: embedder.Residual, Body: []embedder.Layer{conv(false)}}, conv(true), mean}, nil, 3 * 288, 5 * 288},
		{"head", []embedder.Layer{conv(false), mean}, []embedder.Layer{linear}, 300, 2*288 + 3*12},
	} {
		a := embedder.Architecture{InputSize: 4, Std: [3]float32{1, 1, 1}, Layers: c.layers}
		if err := a.Validate(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if forward, whole := stepFLOPs(a, c.head); forward != c.forward || whole != c.whole {
			t.Errorf("%s: %d forward, %d a step; want %d and %d", c.name, forward, whole, c.forward, c.whole)
		}
	}
}

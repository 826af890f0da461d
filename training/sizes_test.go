package training

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imgsearch/embedder"
)

var growing = SizeOptions{Stages: []SizeStage{{Share: 0.3, Size: 8}, {Share: 0.4, Size: 12}, {Share: 0.3, Size: 16}}}

func TestSizeOptions(t *testing.T) {
	a := miniNet(16)
	flat := a.Clone()
	flat.Layers = append(flat.Layers[:6:6], embedder.Layer{Kind: embedder.Flatten}, embedder.Layer{Kind: embedder.Linear, Out: 8})
	stages := func(s ...SizeStage) SizeOptions { return SizeOptions{Stages: s} }
	for _, o := range []SizeOptions{{}, growing, stages(SizeStage{1, 16})} {
		if err := o.validate(a); err != nil {
			t.Errorf("%v: %v", o, err)
		}
	}
	if err := (SizeOptions{}).validate(flat); err != nil {
		t.Error(err)
	}
	for want, o := range map[string]SizeOptions{
		"share of stage 2":        stages(SizeStage{0.5, 8}, SizeStage{0, 16}),
		"shares 0.9":              stages(SizeStage{0.5, 8}, SizeStage{0.4, 16}),
		"size of stage 1 7:":      stages(SizeStage{0.5, 7}, SizeStage{0.5, 16}),
		"size of stage 1 17:":     stages(SizeStage{0.5, 17}, SizeStage{0.5, 16}),
		"size of the last stage":  stages(SizeStage{0.5, 16}, SizeStage{0.5, 12}),
		"sizes: stages 17":        {Stages: make([]SizeStage, 17)},
		"size of stage 1 8: laye": growing,
	} {
		net := a
		if strings.Contains(want, "laye") {
			net = flat
		}
		err := o.validate(net)
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v: want %q", o, err, want)
		}
	}
	o := miniOptions(t)
	o.Sizes = stages(SizeStage{0.5, 8}, SizeStage{0.4, 16})
	if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrOptions) {
		t.Errorf("run: error %v", err)
	}
}

func TestSizesOfSteps(t *testing.T) {
	var got []string
	for step := range 10 {
		side, end := growing.at(16, step, 10)
		got = append(got, fmt.Sprint(side, ":", end))
	}
	if want := "[8:3 8:3 8:3 12:7 12:7 12:7 12:7 16:10 16:10 16:10]"; strings.ReplaceAll(fmt.Sprint(got), " :", ":") != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if side, end := growing.at(16, 0, 1); side != 16 && end != 1 {
		t.Errorf("the only step: size %d to %d", side, end)
	}
	if side, end := (SizeOptions{}).at(16, 3, 10); side != 16 || end != 10 {
		t.Errorf("without stages: size %d to %d", side, end)
	}
}

// TestGrowingRun: a run has its sizes, ends with an encoder of the full size, and with the same weights on any number of
// threads and however often it is interrupted.
func TestGrowingRun(t *testing.T) {
	o := miniOptions(t)
	o.Sizes, o.Head = growing, testHead
	var inputs []int
	count := func(c networkConfig) (stepper, error) {
		n, err := newNetwork(c)
		return &inputLengths{stepper: n, lengths: &inputs}, err
	}
	whole, err := run(t.Context(), o, count)
	if err != nil {
		t.Fatal(err)
	}
	for step, n := range inputs {
		side, _ := growing.at(16, step, 40)
		if n != 16*3*side*side {
			t.Fatalf("step %d: input of %d values, want size %d", step, n, side)
		}
	}
	if len(inputs) != 40 || whole.Encoder.Architecture().InputSize != 16 {
		t.Errorf("%d steps, encoder of size %d", len(inputs), whole.Encoder.Architecture().InputSize)
	}
	o.Out, o.Threads = filepath.Join(t.TempDir(), "parts"), 3
	for _, stop := range []int{5, 12, 13, 20, 28, 35} {
		ctx, cancel := context.WithCancel(t.Context())
		o.afterStep = func(step int) {
			if step == stop {
				cancel()
			}
		}
		if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped at %d: %v", stop, err)
		}
		o.Resume = true
	}
	o.afterStep = nil
	other := o
	other.Sizes = SizeOptions{Stages: []SizeStage{{0.5, 8}, {0.5, 16}}}
	if _, err := Run(t.Context(), other); !errors.Is(err, ErrMismatch) {
		t.Errorf("other sizes: error %v", err)
	}
	parts, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if parts.Encoder.Fingerprint() != whole.Encoder.Fingerprint() {
		t.Error("weights differ from those of the uninterrupted run")
	}
}

// inputLengths notes how long the inputs of the steps are.
type inputLengths struct {
	stepper
	lengths *[]int
}

func (n *inputLengths) step(input []float32, rate float64) (stepResult, error) {
	*n.lengths = append(*n.lengths, len(input))
	return n.stepper.step(input, rate)
}

// slowNet takes time in proportion to the pixels, on a clock of its own.
type slowNet struct {
	stepper
	clock *time.Time
}

func (n *slowNet) step(input []float32, rate float64) (stepResult, error) {
	*n.clock = n.clock.Add(time.Duration(len(input)) * time.Microsecond)
	return n.stepper.step(input, rate)
}

// TestMinutesOfGrowingRun: the steps of all sizes are measured, so that the budget of time is kept.
func TestMinutesOfGrowingRun(t *testing.T) {
	o := miniOptions(t)
	o.Steps, o.Minutes, o.HeldBack, o.Sizes = 0, 1, -1, growing
	clock := time.Unix(1_700_000_000, 0)
	o.now = func() time.Time { return clock }
	r, err := run(t.Context(), o, func(c networkConfig) (stepper, error) {
		f, err := newFake(c)
		return &slowNet{stepper: f, clock: &clock}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if spent := clock.Sub(time.Unix(1_700_000_000, 0)); spent < 55*time.Second || spent > time.Minute {
		t.Errorf("%d steps took %v of a minute", r.Steps, spent)
	}
}

// TestSizeAfterStall: the stages are those of the run as it was planned, until it stalls.
func TestSizeAfterStall(t *testing.T) {
	tr := &trainer{Options: Options{Size: 16, Sizes: SizeOptions{Stages: []SizeStage{{0.5, 8}, {0.5, 16}}}}}
	tr.at.Steps = 100
	check := func(step, size, end int) {
		t.Helper()
		if s, e := tr.sizeAt(step); s != size || e != end {
			t.Errorf("step %d: size %d up to step %d, want %d and %d", step, s, e, size, end)
		}
	}
	check(29, 8, 50)
	check(50, 16, 100)
	tr.at.Stop.Stopped = &Stopped{Step: 30, Planned: 100, Steps: 40}
	tr.at.Steps = 40
	check(29, 8, 50)
	check(30, 16, 40)
	check(39, 16, 40)
}

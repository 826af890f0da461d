package training

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"imgsearch/embedder"
)

func TestStopState(t *testing.T) {
	var s stopState
	o := StopOptions{Patience: 2, Least: 0.1}
	loss := func(x float64) *float64 { return &x }
	for i, c := range []struct {
		loss   *float64
		counts bool
		want   bool
		best   float64
	}{
		{loss(1), false, false, math.NaN()}, // warm-up
		{loss(5), true, false, 5},
		{loss(4.6), true, false, 5}, // not low enough
		{nil, true, false, 5},
		{loss(4.4), true, false, 4.4},
		{loss(6), true, false, 4.4},
		{loss(4.4), true, true, 4.4},
	} {
		if got := s.take(o, 10*i, c.loss, c.counts); got != c.want {
			t.Errorf("measurement %d: stalled %v", i, got)
		}
		if s.Measured != 10*i || (s.Best == nil) != math.IsNaN(c.best) || s.Best != nil && *s.Best != c.best {
			t.Errorf("measurement %d: %+v", i, s)
		}
	}
	// A loss below 0 must fall by the same share of its size.
	s = stopState{}
	s.take(o, 1, loss(-2), true)
	s.take(o, 2, loss(-2.1), true)
	if s.Waited != 1 {
		t.Error("-2.1 counts as lower than -2 by a tenth")
	}
	if s.take(o, 3, loss(-2.3), true); s.Waited != 0 {
		t.Error("-2.3 does not")
	}
}

// stoppingOptions is a run that stalls after 8 of 40 steps, since no loss falls by half every two steps: the warm-up is
// over after step 4.
func stoppingOptions(t *testing.T) Options {
	o := miniOptions(t)
	o.Stop = StopOptions{Patience: 2, Every: 2, Least: 0.5}
	return o
}

// TestStop: a run that stalls runs through the rest of its schedule and says so.
func TestStop(t *testing.T) {
	eachNet(t, func(t *testing.T, makeNet func(networkConfig) (stepper, error)) {
		for _, c := range []struct {
			schedule Schedule
			coolDown float64
			steps    int
		}{{OneCycle, 0.5, 16}, {Trapezoid, 0.2, 10}, {OneCycle, 0.9, 40}, {Constant, 0, 4}} {
			o := stoppingOptions(t)
			o.Schedule, o.CoolDown = c.schedule, c.coolDown
			stalled := 8
			if c.schedule == Constant { // no warm-up: step 2 counts, but 4 and 6 not being better stops it
				stalled, c.steps = 6, 6
			}
			r, err := run(t.Context(), o, makeNet)
			if err != nil {
				t.Fatal(err)
			}
			s := r.Stopped
			if s == nil || s.Step != stalled || s.Planned != 40 || s.Steps != c.steps || r.Steps != c.steps || s.LossStep != stalled-4 || s.Patience != 2 {
				t.Fatalf("%s: %d steps, stopped %+v", c.schedule, r.Steps, s)
			}
			if r.HeldBack.Loss == nil || r.HeldBack.Step != c.steps || r.Encoder.Metadata().Steps != c.steps {
				t.Errorf("%s: %+v", c.schedule, r.HeldBack)
			}
			if text := s.String(); !strings.Contains(text, "of 40 steps the loss on held-back images") {
				t.Error(text)
			}
			record := lines(t, r.Record)
			if k := kinds(record); k["stop"] != 1 || k["step"] != c.steps || k["end"] != 1 {
				t.Errorf("%s: run record has %v", c.schedule, k)
			}
			if end := record[len(record)-1]; end["stopped"].(map[string]any)["steps"] != float64(c.steps) {
				t.Errorf("run record ends with %v", end)
			}
			var rates []float64
			for _, l := range record {
				if l["kind"] == "step" {
					rates = append(rates, l["learning_rate"].(float64))
				}
			}
			for i := stalled; i < len(rates); i++ {
				if rates[i] >= rates[i-1] {
					t.Errorf("%s: rate %v in step %d, after %v", c.schedule, rates[i], i+1, rates[i-1])
				}
			}
			if last := rates[len(rates)-1]; c.schedule == OneCycle && last > 0.001 || c.schedule == Trapezoid && last > 0.02 || c.schedule == Constant && last != 0.05 {
				t.Errorf("%s: ends at a rate of %v", c.schedule, last)
			}
		}
	})
}

// TestStopResumes: a run that was stopped before, in and after the measurement that finds it stalled ends as one that was not.
func TestStopResumes(t *testing.T) {
	eachNet(t, func(t *testing.T, makeNet func(networkConfig) (stepper, error)) {
		o := stoppingOptions(t)
		o.CoolDown = 0.5
		whole, err := run(t.Context(), o, makeNet)
		if err != nil {
			t.Fatal(err)
		}
		o.Out = filepath.Join(t.TempDir(), "parts")
		for i, stop := range []int{1, 6, 7, 8, 9, 15, 16} {
			ctx, cancel := context.WithCancel(t.Context())
			o.afterStep = func(step int) {
				if step == stop {
					cancel()
				}
			}
			o.Threads = 1 + i%3
			var interrupted *InterruptedError
			if _, err := run(ctx, o, makeNet); !errors.As(err, &interrupted) || interrupted.Step != stop {
				t.Fatalf("stopped at %d: %v", stop, err)
			}
			o.Resume = true
		}
		o.afterStep = nil
		parts, err := run(t.Context(), o, makeNet)
		if err != nil {
			t.Fatal(err)
		}
		if parts.Encoder.Fingerprint() != whole.Encoder.Fingerprint() || *parts.Stopped != *whole.Stopped || *parts.HeldBack.Loss != *whole.HeldBack.Loss {
			t.Errorf("the run ended with %+v, uninterrupted with %+v", parts.Stopped, whole.Stopped)
		}
		if k := kinds(lines(t, parts.Record)); k["stop"] != 1 || k["step"] != 16 {
			t.Errorf("run record has %v", k)
		}
	})
}

// TestPatienceIsEnough: a loss that may do as it likes stops nothing.
func TestPatienceIsEnough(t *testing.T) {
	o := stoppingOptions(t)
	o.Stop.Patience = 19
	r, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	if r.Stopped != nil || r.Steps != 40 {
		t.Errorf("%d steps, stopped %+v", r.Steps, r.Stopped)
	}
}

func TestStopWithoutHeldBackImagesWarns(t *testing.T) {
	o := stoppingOptions(t)
	o.Data, o.HeldBack = stripes(40, 16, 3), 0 // none of so few
	r, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	if r.Steps != 40 || !strings.Contains(strings.Join(r.Warnings, "\n"), "cannot find out that it has stalled") {
		t.Errorf("%d steps, warnings %v", r.Steps, r.Warnings)
	}
}

func TestStopOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"stop: patience -1":             func(o *Options) { o.Stop.Patience = -1 },
		"stop: every -1":                func(o *Options) { o.Stop.Every = -1 },
		"stop: least NaN":               func(o *Options) { o.Stop.Least = math.NaN() },
		"stop: every 2: must be 0":      func(o *Options) { o.Stop.Patience, o.Stop.Least = 0, 0 },
		"stop: least 0.5: must be 0":    func(o *Options) { o.Stop.Patience, o.Stop.Every = 0, 0 },
		"stop: patience 2: must be 0":   func(o *Options) { o.TrainOnAll = true },
		"where no images are held back": func(o *Options) { o.HeldBack = -1 },
		"cool-down 1: must be above 0":  func(o *Options) { o.CoolDown = 1 },
		"cool-down 0.5: must be 0":      func(o *Options) { o.Stop, o.CoolDown = StopOptions{}, 0.5 },
		"cool-down 0.6: must be at most 0.5": func(o *Options) {
			o.Schedule, o.WarmUp, o.CoolDown = Trapezoid, 0.5, 0.6
		},
	} {
		o := stoppingOptions(t)
		change(&o)
		if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestHeldBackLoss compares with the definitions: batches, the images left over, given negatives, and a head with its
// running statistics.
func TestHeldBackLoss(t *testing.T) {
	const n, dim = 7, 3
	rng := rand.New(rand.NewPCG(41, 42))
	anchors, positives := make([]float32, n*dim), make([]float32, n*dim)
	for i := range anchors {
		anchors[i], positives[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	head := []embedder.Layer{{Kind: embedder.Linear, Out: 4}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 2, Bias: true}}
	weights := initHeadWeights(dim, head, rng)
	for _, t := range weights {
		for i := range t.Data {
			t.Data[i] = float32(rng.Float64() + 0.5)
		}
	}
	through := func(x []float32) []float64 {
		hidden, out := make([]float64, 4), make([]float64, 2)
		for o := range hidden {
			for i := range x {
				hidden[o] += float64(x[i] * weights["head.0.weight"].Data[o*dim+i])
			}
			value := func(name string) float64 { return float64(weights["head.1."+name].Data[o]) }
			hidden[o] = (hidden[o]-value("running_mean"))/math.Sqrt(value("running_var")+embedder.BatchNormEpsilon)*value("weight") + value("bias")
			hidden[o] = max(hidden[o], 0)
		}
		for o := range out {
			out[o] = float64(weights["head.3.bias"].Data[o])
			for i, v := range hidden {
				out[o] += v * float64(weights["head.3.weight"].Data[o*4+i])
			}
		}
		return out
	}
	plain := func(x []float32) []float64 {
		var out []float64
		for _, v := range x {
			out = append(out, float64(v))
		}
		return out
	}
	distance := func(x, y []float64) float64 {
		var sum float64
		for i := range x {
			sum += (x[i] - y[i]) * (x[i] - y[i])
		}
		return math.Sqrt(sum)
	}
	at := func(x []float32, i int) []float32 { return x[i*dim:][:dim] }
	for _, c := range []struct {
		name    string
		loss    heldBackLoss
		through func([]float32) []float64
		want    func(f func([]float32) []float64) float64
	}{
		{"mse in two batches, one image left", heldBackLoss{options: LossOptions{Loss: LossMSE}, batch: 3}, plain, func(f func([]float32) []float64) float64 {
			var sum float64
			for i := range 6 {
				d := distance(f(at(anchors, i)), f(at(positives, i)))
				sum += d * d / dim
			}
			return sum / 6
		}},
		{"mse behind a head, all at once", heldBackLoss{options: LossOptions{Loss: LossMSE}, batch: 100, head: head}, through, func(f func([]float32) []float64) float64 {
			var sum float64
			for i := range n {
				d := distance(f(at(anchors, i)), f(at(positives, i)))
				sum += d * d / 2
			}
			return sum / n
		}},
		{"triplets behind a head", heldBackLoss{options: LossOptions{Loss: LossTriplet, Miner: MinerRandom, Margin: 0.5}, batch: 1, head: head}, through, func(f func([]float32) []float64) float64 {
			var sum float64
			for i := range n {
				a := f(at(anchors, i))
				sum += max(0, distance(a, f(at(positives, i)))-distance(a, f(at(anchors, (i+1)%n)))+0.5)
			}
			return sum / n
		}},
	} {
		got, err := c.loss.of(anchors, positives, dim, weights)
		if err != nil {
			t.Fatal(err)
		}
		if want := c.want(c.through); got == nil || math.Abs(*got-want) > 1e-5*want {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
	l := heldBackLoss{options: LossOptions{Loss: LossMSE}, batch: 5}
	if got, err := l.of(anchors[:dim], positives[:dim], dim, nil); got != nil || err != nil {
		t.Errorf("of one image: %v, %v", got, err)
	}
	positives[4] = float32(math.NaN())
	if got, err := l.of(anchors, positives, dim, nil); got != nil || err != nil {
		t.Errorf("of what is no number: %v, %v", got, err)
	}
}

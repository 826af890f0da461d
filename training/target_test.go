package training

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

var testPredictor = []embedder.Layer{
	{Kind: embedder.Linear, Out: 5}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 3, Bias: true},
}

// allTargets are the ways to have targets, for nets with the tests' head, by name.
func allTargets() map[string]TargetOptions {
	return map[string]TargetOptions{
		"moco":           {Target: TargetMomentum, Loss: TargetInfoNCE, Temperature: 0.5, Queue: 10},
		"moco-symmetric": {Target: TargetMomentum, Loss: TargetInfoNCE, Temperature: 0.5, Queue: 3, Symmetric: true},
		"moco-v3":        {Target: TargetMomentum, Loss: TargetInfoNCE, Temperature: 0.5, Symmetric: true, Predictor: testPredictor, DecayToOne: true},
		"nnclr":          {Target: TargetStopGradient, Loss: TargetInfoNCE, Temperature: 0.5, Queue: 9, Neighbour: true, Predictor: testPredictor},
		"nnclr-momentum": {Target: TargetMomentum, Loss: TargetInfoNCE, Temperature: 0.5, Queue: 30, Neighbour: true},
		"byol":           {Target: TargetMomentum, Loss: TargetCosine, Symmetric: true, Predictor: testPredictor, Decay: 0.9},
		"mean-shift":     {Target: TargetMomentum, Loss: TargetCosine, Predictor: testPredictor, Queue: 12, Neighbour: true},
		"simsiam":        {Target: TargetStopGradient, Loss: TargetCosine, Predictor: testPredictor},
		"half-nt-xent":   {Target: TargetStopGradient, Loss: TargetInfoNCE, Temperature: 0.5},
	}
}

// targetConfig is a config of a tiny net with the tests' head.
func targetConfig(a embedder.Architecture, o TargetOptions, groups int) networkConfig {
	c := withHead(testConfig(a, LossOptions{}, groups))
	c.Target = o
	maps.Copy(c.Weights, o.initWeights(a.OutputDim(), c.Head, rand.New(rand.NewPCG(21, 22))))
	return c
}

// TestTargetGradients checks the gradients while the queue is empty and after steps that filled it, keys held as they are.
func TestTargetGradients(t *testing.T) {
	for name, a := range testNets() {
		for _, target := range slices.Sorted(maps.Keys(allTargets())) {
			t.Run(name+"/"+target, func(t *testing.T) {
				c := targetConfig(a, allTargets()[target], 4)
				n, err := newNetOf[float64](c)
				if err != nil {
					t.Fatal(err)
				}
				defer n.close()
				for round := range 2 {
					input := randomInput(uint64(5+round), n.inputLen())
					if _, err := n.step(input, 0.001); err != nil {
						t.Fatal(err)
					}
				}
				checkNetGradients(t, n, randomInput(5, n.inputLen()))
			})
		}
	}
}

// slowTargetLoss is the definition of the losses, on rows of length 1; half is the number of rows of a half.
func slowTargetLoss(o TargetOptions, half int, queries, keys, queue [][]float64) float64 {
	dot := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum
	}
	positive := func(i int) []float64 {
		best := keys[i]
		if o.Neighbour && len(queue) > 0 {
			best = queue[0]
			for _, k := range queue {
				if dot(keys[i], k) > dot(keys[i], best) {
					best = k
				}
			}
		}
		return best
	}
	var total float64
	for i, q := range queries {
		p := positive(i)
		if o.Loss == TargetCosine {
			for j := range q {
				total += (q[j] - p[j]) * (q[j] - p[j])
			}
			continue
		}
		var sum float64
		for j := i / half * half; j < (i/half+1)*half; j++ {
			if o.Neighbour {
				sum += math.Exp(dot(p, queries[j]) / o.Temperature)
			} else {
				sum += math.Exp(dot(q, keys[j]) / o.Temperature)
			}
		}
		if !o.Neighbour {
			for _, k := range queue {
				sum += math.Exp(dot(q, k) / o.Temperature)
			}
		}
		total += math.Log(sum) - dot(q, p)/o.Temperature
	}
	return total / float64(len(queries))
}

// TestTargetLosses compares with the definition, the queue empty, half full, full and overwritten, in one chunk and in many.
func TestTargetLosses(t *testing.T) {
	const groups, dim = 5, 4
	rows := func(x []float64) (out [][]float64) {
		for i := 0; i < len(x); i += dim {
			row := make([]float64, dim)
			normalizeRow(row, x[i:i+dim])
			out = append(out, row)
		}
		return out
	}
	for name, o := range allTargets() {
		for _, chunk := range []int{0, 1, 2} {
			s := newTargetScorer[float64](o, groups, dim, 2)
			narrow := newTargetScorer[float32](o, groups, dim, 2)
			if chunk > 0 {
				s.chunk = chunk
			}
			var queue [][]float64
			for step := range 9 {
				queries, keys := randomInput(uint64(step), s.queries*dim), randomInput(uint64(100+step), s.queries*dim)
				s.setKeys(keys)
				got := s.score(queries)
				want := slowTargetLoss(o, groups, rows(queries), rows(keys), queue)
				if math.Abs(got.loss-want) > 1e-12 {
					t.Fatalf("%s, chunk %d, step %d: loss %v, want %v", name, chunk, step, got.loss, want)
				}
				narrow.setKeys(floats32(keys))
				if r := narrow.score(floats32(queries)); math.Abs(r.loss-want) > 1e-5 || math.Abs(r.negative-got.negative) > 1e-5 || r.active != got.active && o.Loss == TargetInfoNCE {
					t.Fatalf("%s, step %d: float32 gives %+v, float64 %+v", name, step, r, got)
				}
				for i, g := range narrow.gradient {
					if math.Abs(float64(g)-s.gradient[i]) > 1e-5 {
						t.Fatalf("%s, step %d: gradient %d is %v in float32, %v in float64", name, step, i, g, s.gradient[i])
					}
				}
				s.enqueue()
				narrow.enqueue()
				if o.Queue > 0 {
					queue = append(queue, rows(keys)[:groups]...)
					queue = queue[max(0, len(queue)-o.Queue):]
				}
			}
		}
	}
}

func floats32(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func TestKeyQueue(t *testing.T) {
	q := newKeyQueue[float64](3, 2)
	for _, c := range []struct{ add, want []float64 }{
		{nil, nil},
		{[]float64{1, 1, 2, 2}, []float64{1, 1, 2, 2}},
		{[]float64{3, 3, 4, 4}, []float64{4, 4, 2, 2, 3, 3}},
		{[]float64{5, 5, 6, 6, 7, 7, 8, 8}, []float64{7, 7, 8, 8, 6, 6}},
	} {
		if q.add(c.add); !slices.Equal(q.rows(), c.want) {
			t.Errorf("after %v: %v, want %v", c.add, q.rows(), c.want)
		}
	}
}

// TestMomentumEncoderIsTheGraph: keys of the inference path are those of the plain net with the same averaged weights.
func TestMomentumEncoderIsTheGraph(t *testing.T) {
	for name, a := range testNets() {
		o := TargetOptions{Target: TargetMomentum, Loss: TargetInfoNCE, Decay: 0.8}
		fast, err := newNetOf[float32](targetConfig(a, o, 4))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := newNetOf[float64](targetConfig(a, o, 4))
		if err != nil {
			t.Fatal(err)
		}
		for step := range 4 {
			x := randomInput(uint64(step), plain.inputLen())
			if _, err := plain.step(x, 0.002); err != nil {
				t.Fatal(err)
			}
			if _, err := fast.step(floats32(x), 0.002); err != nil {
				t.Fatal(err)
			}
			got, want := fast.targets.scorer.keys, plain.targets.scorer.keys
			for i, v := range want {
				if math.Abs(float64(got[i])-v) > 2e-4 {
					t.Fatalf("%s, step %d: key value %d is %v, the graph's %v", name, step, i, got[i], v)
				}
			}
		}
		for i, name := range plain.targets.momentum.names {
			for j, v := range plain.targets.momentum.averaged[i] {
				if w := float64(fast.targets.momentum.averaged[i][j]); math.Abs(w-v) > 2e-4*max(1, math.Abs(v)) {
					t.Fatalf("averaged %s[%d] is %v, the graph's %v", name, j, w, v)
				}
			}
		}
		fast.close()
		plain.close()
	}
}

// TestMomentumAverages: the averaged weights are the average, running statistics among them.
func TestMomentumAverages(t *testing.T) {
	a := testNets()["conv-bn"]
	c := targetConfig(a, TargetOptions{Target: TargetMomentum, Loss: TargetInfoNCE, Decay: 0.7, DecayToOne: true, Queue: 4}, 4)
	n := mustNetwork(t, c)
	m := n.targets.momentum
	for _, name := range []string{"layers.0.weight", "layers.1.running_mean", "layers.1.running_var", "head.1.running_var", "head.3.weight"} {
		if !slices.Contains(m.names, name) {
			t.Fatalf("%s is not averaged: %v", name, m.names)
		}
	}
	want := map[string][]float64{}
	for i, name := range m.names {
		for _, v := range m.averaged[i] {
			want[name] = append(want[name], float64(v))
		}
	}
	const steps = 30
	for step := range steps {
		done := float64(step) / steps
		n.advance(done)
		if _, err := n.step(testImages(rand.New(rand.NewPCG(uint64(step), 1)), n.inputLen()), 0.01); err != nil {
			t.Fatal(err)
		}
		keep := 1 - (1-0.7)*(1+math.Cos(math.Pi*done))/2
		keep = min(keep, float64(step)/float64(step+10))
		for _, p := range n.parameters {
			for j, w := range want[p.name] {
				want[p.name][j] = keep*w + (1-keep)*float64(p.data[j])
			}
		}
	}
	for i, name := range m.names {
		for j, w := range want[name] {
			if v := float64(m.averaged[i][j]); math.Abs(v-w) > 1e-5*max(1, math.Abs(w)) {
				t.Errorf("%s[%d] is %v, want %v", name, j, v, w)
			}
		}
	}
	if keep := m.share(); keep < 0.7 {
		t.Errorf("share %v after %d steps", keep, steps)
	}
}

// TestTargetsForAllThreads: steps give the same bits on any number of threads, and after going back to a state.
func TestTargetsForAllThreads(t *testing.T) {
	nets := testNets()
	for name, o := range allTargets() {
		c := targetConfig(nets["residual"], o, 9)
		c.Momentum, c.WeightDecay, c.Nesterov = 0.9, 1e-3, true
		var want embedder.Weights
		for _, threads := range []int{1, 2, 7} {
			c.Threads = threads
			n := mustNetwork(t, c)
			rng := rand.New(rand.NewPCG(15, 16))
			var middle embedder.Weights
			last := make([][]float32, 2)
			for step := range 4 {
				if step == 2 {
					middle = n.state()
				}
				n.advance(float64(step) / 4)
				x := testImages(rng, n.inputLen())
				if step >= 2 {
					last[step-2] = x
				}
				if _, err := n.step(x, 0.01); err != nil {
					t.Fatal(err)
				}
			}
			if threads == 1 {
				want = n.state()
			}
			sameWeights(t, fmt.Sprintf("%s, %d threads", name, threads), n.state(), want)
			other := c
			other.Weights = c.Weights.Clone()
			for _, tensor := range other.Weights { // all come from the state, frozen ones too
				for i := range tensor.Data {
					tensor.Data[i] = 0.5
				}
			}
			again := mustNetwork(t, other)
			if err := again.setState(middle); err != nil {
				t.Fatal(err)
			}
			for i, x := range last {
				again.advance(float64(i+2) / 4)
				if _, err := again.step(x, 0.01); err != nil {
					t.Fatal(err)
				}
			}
			sameWeights(t, name+", restored", again.state(), want)
		}
	}
}

// TestTargetStateIsChecked: a state of other targets, or with numbers that cannot be, changes nothing.
func TestTargetStateIsChecked(t *testing.T) {
	a := testNets()["conv-bn"]
	all := allTargets()
	n := mustNetwork(t, targetConfig(a, all["moco"], 4))
	state := n.state()
	for _, name := range []string{"byol", "moco-symmetric", "simsiam"} {
		if err := n.setState(mustNetwork(t, targetConfig(a, all[name], 4)).state()); err == nil {
			t.Errorf("the state of %s passes for that of moco", name)
		}
	}
	for i, values := range [][]float32{{-1, 0.5, 1 << 25}, {-1, 0.5, 10}, {-1, 0.5, 11}} {
		for _, v := range values {
			bad := state.Clone()
			bad["targets"].Data[i] = v
			if err := n.setState(bad); err == nil {
				t.Errorf("number %d may be %v", i, v)
			}
		}
	}
	if err := n.setState(state); err != nil {
		t.Error(err)
	}
}

func TestTargetOptions(t *testing.T) {
	good := allTargets()
	for name, o := range good {
		c, err := o.complete(LossOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := c.complete(LossOptions{}); err != nil || fmt.Sprint(again) != fmt.Sprint(c) {
			t.Errorf("%s: complete options become %+v of %+v (%v)", name, again, c, err)
		}
		if (o.Target == TargetMomentum) != (c.Decay > 0) || (o.Loss == TargetInfoNCE) != (c.Temperature > 0) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	change := func(name string, with func(*TargetOptions)) TargetOptions {
		o := good[name]
		with(&o)
		return o
	}
	for want, o := range map[string]TargetOptions{
		`target "x"`:              {Target: "x"},
		`target ""`:               {Queue: 3},
		`target loss ""`:          {Target: TargetMomentum},
		"target temperature 2000": change("moco", func(o *TargetOptions) { o.Temperature = 2000 }),
		"target temperature 0.1":  change("byol", func(o *TargetOptions) { o.Temperature = 0.1 }),
		"predictor without":       change("byol", func(o *TargetOptions) { o.Predictor = nil }),
		"decay 1:":                change("byol", func(o *TargetOptions) { o.Decay = 1 }),
		"decay 0.5":               change("simsiam", func(o *TargetOptions) { o.Decay = 0.5 }),
		"queue 262145":            change("moco", func(o *TargetOptions) { o.Queue = maxQueue + 1 }),
		"queue 0":                 change("nnclr", func(o *TargetOptions) { o.Queue = 0 }),
		"queue 5":                 change("byol", func(o *TargetOptions) { o.Queue = 5 }),
	} {
		if _, err := o.complete(LossOptions{}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	loss := LossOptions{Loss: LossNTXent, Temperature: 0.1}
	if _, err := good["moco"].complete(loss); !errors.Is(err, ErrOptions) {
		t.Errorf("a loss beside a target: %v", err)
	}
	if o, err := (TargetOptions{}).complete(loss); err != nil || o.on() {
		t.Errorf("no target: %+v, %v", o, err)
	}
	c := targetConfig(testNets()["conv-bn"], change("byol", func(o *TargetOptions) { o.Predictor = o.Predictor[:2] }), 4)
	if _, err := newNetwork(c); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "predictor of 5 values") {
		t.Errorf("a predictor that changes the dim: %v", err)
	}
}

// targetRun is a small run with targets.
func targetRun(t *testing.T, target TargetOptions) Options {
	o := miniOptions(t)
	o.Loss, o.Target = LossOptions{}, target
	o.Head = []embedder.Layer{{Kind: embedder.Linear, Out: 8}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 3}}
	o.Architecture.Layers[0].Frozen, o.Architecture.Layers[0].Init, o.Architecture.Layers[0].Out = true, embedder.InitWhiten, 54
	return o
}

// TestTargetsInterruptAndResume: as TestInterruptAndResume, with a first layer that is made of the images.
func TestTargetsInterruptAndResume(t *testing.T) {
	for name, target := range allTargets() {
		o := targetRun(t, target)
		whole, err := Run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o.Out, o.Threads = filepath.Join(t.TempDir(), "parts"), 2
		for _, stop := range []int{1, 23} {
			ctx, cancel := context.WithCancel(t.Context())
			o.afterStep = func(step int) {
				if step == stop {
					cancel()
				}
			}
			if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v", name, err)
			}
			o.Resume = true
		}
		o.afterStep = nil
		changed := o
		changed.Target.Queue += 2
		if _, err := Run(t.Context(), changed); !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrOptions) {
			t.Errorf("%s: resumed with another queue: %v", name, err)
		}
		parts, err := Run(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if parts.Encoder.Fingerprint() != whole.Encoder.Fingerprint() || parts.Loss != whole.Loss {
			t.Errorf("%s: weights or loss differ from those of the uninterrupted run", name)
		}
	}
}

// TestTargetsLearn: every way to have targets finds the classes of the stripes, and none collapses.
func TestTargetsLearn(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	for name, target := range allTargets() {
		t.Run(name, func(t *testing.T) {
			o := targetRun(t, target)
			o.Data, o.Steps, o.Batch, o.HeldBack, o.Threads = stripes(400, 16, 4), 300, 32, 100, 2
			o.Head = []embedder.Layer{
				{Kind: embedder.Linear, Out: 32}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 16}, {Kind: embedder.BatchNorm},
			}
			if len(target.Predictor) > 0 {
				o.Target.Predictor = []embedder.Layer{
					{Kind: embedder.Linear, Out: 32}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 16, Bias: true},
				}
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("purity %.3f, match %.3f, loss %.3f, warnings %v", r.HeldBack.Purity.At10, r.HeldBack.Match, r.Loss, r.Warnings)
			if p := r.HeldBack.Purity; p.At10 < p.Chance+0.1 {
				t.Errorf("purity %.3f, by chance %.3f", p.At10, p.Chance)
			}
			if len(r.Warnings) > 1 { // one says that the images are few
				t.Errorf("warnings %v", r.Warnings)
			}
		})
	}
}

// TestTargetCollapse: without what holds embeddings apart, a predictor that does nothing, the watch warns.
func TestTargetCollapse(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	o := targetRun(t, TargetOptions{Target: TargetMomentum, Loss: TargetCosine, Decay: 0.5, Predictor: []embedder.Layer{{Kind: embedder.Linear, Out: 8}}})
	o.Head, o.Steps, o.LearningRate, o.Schedule, o.WarmUp = nil, 400, 0.2, Constant, 0
	o.Architecture.Layers = slices.DeleteFunc(o.Architecture.Layers, func(l embedder.Layer) bool { return l.Kind == embedder.BatchNorm })
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "collapsed") }) {
		t.Errorf("warnings %v, loss %v", r.Warnings, r.Loss)
	}
}

// TestBareStepTargets: a bare step of targets takes all views, and counts less for those that are not trained on.
func TestBareStepTargets(t *testing.T) {
	o, err := PresetByName("tiny")
	if err != nil {
		t.Fatal(err)
	}
	o.Batch, o.Threads, o.Size = 4, 1, 16
	flops := map[string]int64{}
	for name, target := range map[string]TargetOptions{
		"none": {}, "moco": {Target: TargetMomentum, Loss: TargetInfoNCE, Queue: 8},
		"symmetric": {Target: TargetMomentum, Loss: TargetInfoNCE, Symmetric: true}, "self": {Target: TargetStopGradient, Loss: TargetInfoNCE},
	} {
		o := o
		if o.Target = target; target.on() {
			o.Loss = LossOptions{}
		}
		options, err := o.BareStepOptions()
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewBareStep(options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Run(2, 0); err != nil || b.Images() != 8 {
			t.Errorf("%s: %d images a step, error %v", name, b.Images(), err)
		}
		flops[name] = b.FLOPs()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if flops["self"] != flops["none"] || flops["moco"]*2 != flops["symmetric"] || flops["moco"] >= flops["none"] {
		t.Errorf("operations %v", flops)
	}
}

func TestTargetPrecision(t *testing.T) {
	if !kernel.HasBF16() {
		t.Skip("the processor has no AVX512-BF16")
	}
	o := targetRun(t, TargetOptions{Target: TargetMomentum, Loss: TargetInfoNCE, Queue: 32})
	o.Precision, o.Steps = BFloat16, 10
	var fingerprints []string
	for _, threads := range []int{1, 2, 5} {
		o.Threads, o.Out = threads, filepath.Join(t.TempDir(), "encoder")
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		fingerprints = append(fingerprints, r.Encoder.Fingerprint())
	}
	if len(slices.Compact(fingerprints)) != 1 {
		t.Errorf("weights differ between 1, 2 and 5 threads: %v", fingerprints)
	}
}

// BenchmarkTargetStep is a step of the preset default with one kind of targets after the other, "none" being the preset.
func BenchmarkTargetStep(b *testing.B) {
	preset := recipeByName("default")
	net := preset.net(32, 64)
	net.Std = [3]float32{1, 1, 1}
	predictor := []embedder.Layer{
		{Kind: embedder.Linear, Out: 256}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 64, Bias: true},
	}
	targets := map[string]TargetOptions{
		"none":           {},
		"moco":           {Target: TargetMomentum, Loss: TargetInfoNCE, Queue: 4096},
		"moco-symmetric": {Target: TargetMomentum, Loss: TargetInfoNCE, Queue: 4096, Symmetric: true},
		"nnclr":          {Target: TargetMomentum, Loss: TargetInfoNCE, Queue: 4096, Neighbour: true},
		"byol":           {Target: TargetMomentum, Loss: TargetCosine, Predictor: predictor},
		"simsiam":        {Target: TargetStopGradient, Loss: TargetCosine, Predictor: predictor},
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		for _, precision := range Precisions() {
			b.Run(fmt.Sprintf("%s/%s", name, precision), func(b *testing.B) {
				if _, err := precision.complete(); err != nil {
					b.Skip(err)
				}
				o := BareStepOptions{
					Architecture: net, Target: targets[name], Groups: 256, Precision: precision, Momentum: 0.9, Nesterov: true,
				}
				if !o.Target.on() {
					o.Loss = preset.options.Loss
				}
				s, err := NewBareStep(o)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Run(1, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// plainParameter is a parameter as the definitions of optimisers see it, in float64.
type plainParameter struct {
	rows, cols     int
	decays         bool
	weight         []float64
	first, squares []float64 // what momentum and the mean square keep
}

// plainAdamW is Loshchilov and Hutter's algorithm 2, and with nesterov Dozat's step.
func plainAdamW(p *plainParameter, g []float64, t int, rate float64, s plainSolver) {
	beta1, beta2 := s.momentum, s.options.Beta2
	for i, g := range g {
		if p.decays {
			p.weight[i] -= rate * s.weightDecay * p.weight[i]
		}
		p.first[i] = beta1*p.first[i] + (1-beta1)*g
		p.squares[i] = beta2*p.squares[i] + (1-beta2)*g*g
		mean := p.first[i] / (1 - math.Pow(beta1, float64(t)))
		if s.nesterov {
			mean = beta1*p.first[i]/(1-math.Pow(beta1, float64(t+1))) + (1-beta1)*g/(1-math.Pow(beta1, float64(t)))
		}
		square := p.squares[i] / (1 - math.Pow(beta2, float64(t)))
		p.weight[i] -= rate * mean / (math.Sqrt(square) + s.options.Epsilon)
	}
}

// plainLARS is that of SimCLR.
func plainLARS(p *plainParameter, g []float64, _ int, rate float64, s plainSolver) {
	if p.decays {
		g = slices.Clone(g)
		var weights, gradients float64
		for i := range g {
			g[i] += s.weightDecay * p.weight[i]
			weights += p.weight[i] * p.weight[i]
			gradients += g[i] * g[i]
		}
		if gradients > 0 {
			rate *= s.options.Trust * math.Sqrt(weights) / math.Sqrt(gradients)
		}
	}
	for i, g := range g {
		p.first[i] = s.momentum*p.first[i] + rate*g
		if s.nesterov {
			p.weight[i] -= s.momentum*p.first[i] + rate*g
		} else {
			p.weight[i] -= p.first[i]
		}
	}
}

// plainMuon iterates on the matrix itself.
func plainMuon(p *plainParameter, g []float64, t int, rate float64, s plainSolver) {
	if !p.decays {
		plainAdamW(p, g, t, rate*s.options.OtherRate, s)
		return
	}
	x := make([]float64, len(g))
	var norm float64
	for i, g := range g {
		p.first[i] = s.momentum*p.first[i] + g
		x[i] = p.first[i]
		if s.nesterov {
			x[i] = g + s.momentum*p.first[i]
		}
		norm += x[i] * x[i]
		p.weight[i] -= rate * s.weightDecay * p.weight[i]
	}
	if norm == 0 {
		return
	}
	for i := range x {
		x[i] /= math.Sqrt(norm)
	}
	rows, cols := p.rows, p.cols
	if rows > cols {
		x = transposed(x, rows, cols)
		rows, cols = cols, rows
	}
	for range s.options.Iterations {
		a := product(x, transposed(x, rows, cols), rows, cols, rows)
		b := product(a, a, rows, rows, rows)
		for i := range b {
			b[i] = -4.7750*a[i] + 2.0315*b[i]
		}
		next := product(b, x, rows, rows, cols)
		for i := range next {
			next[i] += 3.4445 * x[i]
		}
		x = next
	}
	if p.rows > p.cols {
		x = transposed(x, rows, cols)
	}
	for i := range x {
		p.weight[i] -= rate * math.Sqrt(max(1, float64(p.rows)/float64(p.cols))) * x[i]
	}
}

func transposed(x []float64, rows, cols int) []float64 {
	out := make([]float64, len(x))
	for i := range rows {
		for j := range cols {
			out[j*rows+i] = x[i*cols+j]
		}
	}
	return out
}

// product multiplies x [n, k] and y [k, m].
func product(x, y []float64, n, k, m int) []float64 {
	out := make([]float64, n*m)
	for i := range n {
		for j := range k {
			for l := range m {
				out[i*m+l] += x[i*k+j] * y[j*m+l]
			}
		}
	}
	return out
}

type plainSolver struct {
	options               OptimizerOptions
	momentum, weightDecay float64
	nesterov              bool
}

var plainOptimizers = map[Optimizer]func(p *plainParameter, g []float64, t int, rate float64, s plainSolver){
	AdamW: plainAdamW, LARS: plainLARS, Muon: plainMuon,
}

// TestOptimizers compares with the definitions in float64, on parameters of one and of several pieces, wide and high,
// with a gradient that is kept as factors, and through a step without a gradient.
func TestOptimizers(t *testing.T) {
	for _, s := range []plainSolver{
		{options: OptimizerOptions{Optimizer: AdamW}, momentum: 0.9, weightDecay: 0.1},
		{options: OptimizerOptions{Optimizer: AdamW, Beta2: 0.9, Epsilon: 0.01}},
		{options: OptimizerOptions{Optimizer: AdamW}, momentum: 0.8, nesterov: true},
		{options: OptimizerOptions{Optimizer: LARS}, momentum: 0.9, weightDecay: 0.1},
		{options: OptimizerOptions{Optimizer: LARS, Trust: 0.02}, momentum: 0.9, nesterov: true},
		{options: OptimizerOptions{Optimizer: LARS, Trust: 0.01}, weightDecay: 0.5},
		{options: OptimizerOptions{Optimizer: Muon}, momentum: 0.9, nesterov: true, weightDecay: 0.1},
		{options: OptimizerOptions{Optimizer: Muon, Iterations: 1, OtherRate: 2}, momentum: 0.5},
		{options: OptimizerOptions{Optimizer: Muon, Iterations: 2}},
	} {
		t.Run(fmt.Sprintf("%s-%v-%v-%v", s.options.Optimizer, s.momentum, s.weightDecay, s.nesterov), func(t *testing.T) {
			var err error
			if s.options, err = s.options.complete(); err != nil {
				t.Fatal(err)
			}
			for _, threads := range []int{1, 3} {
				testOptimizer[float32](t, s, threads, 2e-5)
				testOptimizer[float64](t, s, threads, 1e-11)
			}
		})
	}
}

func testOptimizer[T kernel.Float](t *testing.T, s plainSolver, threads int, tolerance float64) {
	rng := rand.New(rand.NewPCG(33, 34))
	g := newGraph[T](1)
	normal := func(x []T) {
		for i := range x {
			x[i] = T(float32(rng.NormFloat64()))
		}
	}
	make := func(name string, decays bool, shape ...int) *parameter[T] {
		p := &parameter[T]{variable: g.leaf(name, true, shape...), trainable: true, decays: decays}
		p.gradient = append([]T(nil), p.data...)
		normal(p.data)
		return p
	}
	const rows, out, in = 3, 12, solverPiece + 3
	var left, right [rows * in]T
	factored := make("factored", true, out, in)
	factored.gradient = nil
	factored.factors = &factors[T]{rows: rows, out: out, in: in,
		left: func() []T { return left[:rows*out] }, right: func() []T { return right[:] }}
	parameters := []*parameter[T]{
		make("bias", false, 7), make("conv", true, 6, 5, 3, 3), make("high", true, 40, 9), make("square", true, 8, 8),
		make("scale", false, solverPiece+1), factored,
	}
	solver := newSolver(solver[T]{
		options: s.options, momentum: s.momentum, weightDecay: s.weightDecay, nesterov: s.nesterov, threads: threads,
	}, parameters)
	var model []gorgonia.ValueGrad
	var plain []*plainParameter
	doubles := func(x []T) []float64 {
		out := []float64{}
		for _, v := range x {
			out = append(out, float64(v))
		}
		return out
	}
	for _, p := range parameters {
		model = append(model, p)
		plain = append(plain, &plainParameter{
			rows: p.shape[0], cols: p.len() / p.shape[0], decays: p.decays, weight: doubles(p.data),
			first: doubles(p.velocity), squares: doubles(p.velocity),
		})
	}
	for step := range 5 {
		solver.rate, solver.zero = 0.1/float64(step+1), step == 2
		normal(left[:])
		normal(right[:])
		for i, p := range parameters {
			normal(p.gradient)
			value, err := p.Grad()
			if err != nil {
				t.Fatal(err)
			}
			gradient := doubles(value.Data().([]T))
			if solver.zero {
				clear(gradient)
			}
			plainOptimizers[s.options.Optimizer](plain[i], gradient, step+1, solver.rate, s)
		}
		if err := solver.Step(model); err != nil {
			t.Fatal(err)
		}
		for i, p := range parameters {
			for j, v := range p.data {
				if want := plain[i].weight[j]; !(math.Abs(float64(v)-want) <= tolerance) {
					t.Fatalf("%T, %d threads, step %d: %s[%d] is %v: want %v", v, threads, step, p.name, j, v, want)
				}
			}
		}
	}
}

// TestMuonOrthogonalises: the singular values of what a step adds are near 1.
func TestMuonOrthogonalises(t *testing.T) {
	rng := rand.New(rand.NewPCG(35, 36))
	g := newGraph[float32](1)
	p := testParameter(g, rng, "conv", true, 16, 8, 3, 3)
	for i := range p.gradient {
		p.gradient[i] = float32(rng.NormFloat64()) * 1e-6
	}
	before := slices.Clone(p.data)
	options, err := OptimizerOptions{Optimizer: Muon}.complete()
	if err != nil {
		t.Fatal(err)
	}
	s := newSolver(solver[float32]{options: options, rate: 1, momentum: 0.95, nesterov: true, threads: 1}, []*parameter[float32]{p})
	if err := s.Step([]gorgonia.ValueGrad{p}); err != nil {
		t.Fatal(err)
	}
	update := make([]float64, len(before))
	for i := range update {
		update[i] = float64(before[i] - p.data[i])
	}
	gram := product(update, transposed(update, 16, 72), 16, 72, 16)
	for i := range 16 {
		for j := range 16 {
			if v := gram[i*16+j]; i == j && (v < 0.4 || v > 1.6) || i != j && math.Abs(v) > 0.3 {
				t.Errorf("row %d times row %d is %v", i, j, v)
			}
		}
	}
}

// TestAverage compares with the definition, and starts from the first weights.
func TestAverage(t *testing.T) {
	g := newGraph[float32](1)
	rng := rand.New(rand.NewPCG(37, 38))
	p := testParameter(g, rng, "weight", true, 3, solverPiece)
	fixed := testParameter(g, rng, "fixed", true, 5)
	for _, threads := range []int{1, 3} {
		a := newAverager(AverageOptions{Decay: 0.6}, threads, []*parameter[float32]{p, fixed})
		want := make([]float64, p.len())
		for i, v := range p.data {
			want[i] = float64(v)
		}
		for step := range 40 {
			for i := range p.data {
				p.data[i] = float32(rng.NormFloat64())
			}
			a.step()
			decay := min(0.6, float64(1+step)/float64(10+step))
			for i, v := range p.data {
				want[i] = decay*want[i] + (1-decay)*float64(v)
				if math.Abs(float64(a.values[0][i])-want[i]) > 1e-6 {
					t.Fatalf("step %d: %v, want %v", step, a.values[0][i], want[i])
				}
			}
			if !slices.Equal(a.values[1], fixed.data) {
				t.Fatal("the average of equal values is another one")
			}
		}
	}
}

// optimizerOptions is a small run with every optimiser, weights averaged.
func optimizerOptions(t *testing.T, optimizer Optimizer) Options {
	o := miniOptions(t)
	o.Head = []embedder.Layer{{Kind: embedder.Linear, Out: 6}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 5, Bias: true}}
	o.Optimizer.Optimizer, o.Average.Decay, o.LearningRate = optimizer, 0.9, 0.01
	return o
}

// TestOptimizersResume: with every optimiser, a run that was stopped and resumed ends as one that was not, on other
// numbers of threads.
func TestOptimizersResume(t *testing.T) {
	real := nets["real"]
	fingerprints := map[string]Optimizer{}
	for _, optimizer := range Optimizers() {
		t.Run(string(optimizer), func(t *testing.T) {
			o := optimizerOptions(t, optimizer)
			whole, err := run(t.Context(), o, real)
			if err != nil {
				t.Fatal(err)
			}
			o.Out = filepath.Join(t.TempDir(), "parts")
			for i, stop := range []int{1, 17, 40} {
				ctx, cancel := context.WithCancel(t.Context())
				o.afterStep = func(step int) {
					if step == stop {
						cancel()
					}
				}
				o.Threads = 1 + i
				if _, err := run(ctx, o, real); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				o.Resume = true
			}
			o.afterStep = nil
			parts, err := run(t.Context(), o, real)
			if err != nil {
				t.Fatal(err)
			}
			if parts.Encoder.Fingerprint() != whole.Encoder.Fingerprint() {
				t.Error("weights differ from those of the uninterrupted run")
			}
			if other, ok := fingerprints[parts.Encoder.Fingerprint()]; ok {
				t.Errorf("the weights are those of %s", other)
			}
			fingerprints[parts.Encoder.Fingerprint()] = optimizer
		})
	}
}

// TestEncoderIsTheAverage: the encoder of a run differs from that of the same run without average, and with a decay of
// next to nothing it hardly does.
func TestEncoderIsTheAverage(t *testing.T) {
	bias := func(decay float64) []float32 {
		o := miniOptions(t)
		o.Average.Decay = decay
		r, err := run(t.Context(), o, nets["real"])
		if err != nil {
			t.Fatal(err)
		}
		return r.Encoder.Weights()["layers.1.running_mean"].Data
	}
	without, little, much := bias(0), bias(1e-6), bias(0.95)
	if d := largestDifference(without, little); d == 0 || d > 1e-5 {
		t.Errorf("with a decay of 1e-6: %v", d)
	}
	if d := largestDifference(without, much); d < 1e-3 {
		t.Errorf("with a decay of 0.95: %v", d)
	}
}

func largestDifference(x, y []float32) float64 {
	var most float64
	for i := range x {
		most = max(most, math.Abs(float64(x[i]-y[i])))
	}
	return most
}

func TestOptimizerOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`optimizer "adam"`:                            func(o *Options) { o.Optimizer.Optimizer = "adam" },
		"optimizer: beta2 0.9: must be 0 with sgd":    func(o *Options) { o.Optimizer.Beta2 = 0.9 },
		"optimizer: beta2 1: must be above 0":         func(o *Options) { o.Optimizer = OptimizerOptions{Optimizer: AdamW, Beta2: 1} },
		"optimizer: epsilon NaN":                      func(o *Options) { o.Optimizer = OptimizerOptions{Optimizer: Muon, Epsilon: math.NaN()} },
		"optimizer: trust -1":                         func(o *Options) { o.Optimizer = OptimizerOptions{Optimizer: LARS, Trust: -1} },
		"optimizer: trust 0.1: must be 0 with adamw":  func(o *Options) { o.Optimizer = OptimizerOptions{Optimizer: AdamW, Trust: 0.1} },
		"optimizer: iterations 21":                    func(o *Options) { o.Optimizer = OptimizerOptions{Optimizer: Muon, Iterations: 21} },
		"optimizer: iterations 5: must be 0 with sgd": func(o *Options) { o.Optimizer.Iterations = 5 },
		"optimizer: other rate -0.1":                  func(o *Options) { o.Optimizer = OptimizerOptions{Optimizer: Muon, OtherRate: -0.1} },
		"average decay 1":                             func(o *Options) { o.Average.Decay = 1 },
		"average decay NaN":                           func(o *Options) { o.Average.Decay = math.NaN() },
	} {
		o := miniOptions(t)
		change(&o)
		if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestOptimizerSetsLearningRate(t *testing.T) {
	o, err := PresetByName("default")
	if err != nil {
		t.Fatal(err)
	}
	preset := o.peak(256)
	for _, optimizer := range []Optimizer{AdamW, LARS, SGD} {
		o.Optimizer.Optimizer = optimizer
		if a, b := o.peak(256), o.peak(64); a == preset || !(b < a && b >= a/4) {
			t.Errorf("%s: rate %v for 256 and %v for 64", optimizer, a, b)
		}
	}
	if o, err = PresetByName("seed"); err != nil {
		t.Fatal(err)
	}
	if a, b := o.peak(1), o.peak(64); a != 0.001 || b != a {
		t.Errorf("a preset with a rate of its own: %v and %v", a, b)
	}
}

func BenchmarkSolver(b *testing.B) {
	o, err := PresetByName("default")
	if err != nil {
		b.Fatal(err)
	}
	bare, err := o.BareStepOptions()
	if err != nil {
		b.Fatal(err)
	}
	bare.Groups = 2
	for _, optimizer := range Optimizers() {
		for _, decay := range []float64{0, 0.999} {
			b.Run(fmt.Sprintf("%s/average-%v", optimizer, decay), func(b *testing.B) {
				bare.Optimizer.Optimizer, bare.Average.Decay = optimizer, decay
				s, err := NewBareStep(bare)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				if _, err := s.Run(1, 0); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := s.net.solver.Step(s.net.model); err != nil {
						b.Fatal(err)
					}
					if s.net.averager != nil {
						s.net.averager.step()
					}
				}
			})
		}
	}
}

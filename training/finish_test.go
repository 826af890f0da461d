package training

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"imgsearch/dataset"
	"imgsearch/embedder"
)

func layerKinds(layers []embedder.Layer) string {
	var names []string
	for _, l := range layers {
		names = append(names, string(l.Kind))
	}
	return strings.Join(names, " ")
}

// TestFinishNet: what is trained, for what is asked.
func TestFinishNet(t *testing.T) {
	const body = "conv batchnorm relu conv batchnorm relu globalmean"
	backbone := miniNet(16)
	backbone.Layers = backbone.Layers[:7]
	for name, test := range map[string]struct {
		finish    FinishOptions
		net       embedder.Architecture
		dim       int
		trained   string
		finished  string
		wantDim   int
		wantWrong string
	}{
		"nothing":        {net: miniNet(16), trained: body + " linear l2norm", finished: body + " linear l2norm", wantDim: 8},
		"mirror":         {finish: FinishOptions{Mirror: true}, net: miniNet(16), trained: body + " linear l2norm", finished: body + " mirrormean linear l2norm", wantDim: 8},
		"pca":            {finish: FinishOptions{PCA: true}, net: miniNet(16), trained: body, finished: body + " linear l2norm", wantDim: 8},
		"backbone":       {finish: FinishOptions{PCA: true, Mirror: true}, net: backbone, trained: body, finished: body + " mirrormean linear l2norm", wantDim: 16},
		"dim":            {finish: FinishOptions{PCA: true}, net: backbone, dim: 5, trained: body, finished: body + " linear l2norm", wantDim: 5},
		"first":          {finish: FinishOptions{PCA: true, NormalizeFirst: true, Mirror: true}, net: miniNet(16), dim: 5, trained: body, finished: body + " mirrormean l2norm linear l2norm", wantDim: 5},
		"keep":           {finish: FinishOptions{PCA: true, KeepLinear: true, Mirror: true}, net: miniNet(16), dim: 5, trained: body + " linear l2norm", finished: body + " mirrormean linear l2norm", wantDim: 5},
		"keep and first": {finish: FinishOptions{PCA: true, KeepLinear: true, NormalizeFirst: true}, net: miniNet(16), dim: 5, trained: body + " linear l2norm", finished: body + " linear l2norm linear l2norm", wantDim: 5},
		"too many":       {finish: FinishOptions{PCA: true}, net: backbone, dim: 17, wantWrong: "dim 17: must be 2 to 16: there are 16 features"},
		"none to keep":   {finish: FinishOptions{PCA: true, KeepLinear: true}, net: backbone, wantWrong: "finish: keep linear true"},
		"dim alone":      {net: backbone, dim: 5, wantWrong: "dim 5: must be 0 where an architecture is given"},
		"whitening":      {finish: FinishOptions{PCA: true, Whitening: 1.5}, net: backbone, wantWrong: "finish: whitening 1.5: must be 0 to 1"},
		"not a number":   {finish: FinishOptions{PCA: true, Whitening: math.NaN()}, net: backbone, wantWrong: "finish: whitening NaN"},
		"no pca":         {finish: FinishOptions{Whitening: 1}, net: backbone, wantWrong: "finish: whitening 1: must be 0 without PCA"},
		"one image":      {finish: FinishOptions{PCA: true, Images: 1}, net: backbone, wantWrong: "finish: images 1: must be 2 or more"},
	} {
		t.Run(name, func(t *testing.T) {
			o := miniOptions(t)
			o.Architecture, o.Finish, o.Dim = test.net, test.finish, test.dim
			o, err := o.complete()
			if test.wantWrong != "" {
				if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), test.wantWrong) {
					t.Errorf("error %v, want %s", err, test.wantWrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := layerKinds(o.Architecture.Layers); got != test.trained || o.Dim != test.wantDim {
				t.Errorf("trained: %s, dim %d", got, o.Dim)
			}
			a, w := o.Finish.add(o.Architecture, embedder.InitWeights(o.Architecture, rand.New(rand.NewPCG(1, 2))))
			if o.Finish.PCA {
				p, err := someMoments(a.OutputDim(), 40, 1).components(o.Dim, o.Finish.Whitening)
				if err != nil {
					t.Fatal(err)
				}
				a, w = o.Finish.project(a, w, p)
			}
			if got := layerKinds(a.Layers); got != test.finished || a.OutputDim() != test.wantDim {
				t.Errorf("finished: %s, dim %d", got, a.OutputDim())
			}
			if _, err := embedder.New(a, w, embedder.Metadata{}); err != nil {
				t.Error(err)
			}
		})
	}
	o := miniOptions(t)
	o.Architecture.Layers = slices.Insert(o.Architecture.Layers, 7, embedder.Layer{Kind: embedder.MirrorMean})
	if _, err := o.complete(); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "mirrormean") {
		t.Errorf("mirrormean in training: %v", err)
	}
}

// someRows are n rows of dim values with a mean, some common variation, and variances that fall from value to value.
func someRows(dim, n int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	rows := make([]float32, n*dim)
	for i := range n {
		common := rng.NormFloat64()
		for j := range dim {
			rows[i*dim+j] = float32(10 + common*0.5 + rng.NormFloat64()/float64(1+j))
		}
	}
	return rows
}

func someMoments(dim, n, threads int) *moments {
	m := newMoments(dim)
	rows := someRows(dim, n, 3)
	for from := 0; from < n; from += 100 {
		m.add(rows[from*dim:min(n, from+100)*dim], threads)
	}
	return m
}

func TestMoments(t *testing.T) {
	const dim, n = 37, 450
	rows := someRows(dim, n, 3)
	m := someMoments(dim, n, 1)
	mean, covariance := m.statistics()
	want := make([]float64, dim)
	for i, x := range rows {
		want[i%dim] += float64(x) / n
	}
	for i := range dim {
		if math.Abs(mean[i]-want[i]) > 1e-6 {
			t.Fatalf("mean %d: %v, want %v", i, mean[i], want[i])
		}
		for j := range dim {
			var c float64
			for r := range n {
				c += (float64(rows[r*dim+i]) - want[i]) * (float64(rows[r*dim+j]) - want[j]) / n
			}
			if math.Abs(covariance[i*dim+j]-c) > 1e-6 {
				t.Fatalf("covariance %d, %d: %v, want %v", i, j, covariance[i*dim+j], c)
			}
		}
	}
	_, again := someMoments(dim, n, 3).statistics()
	if !slices.Equal(covariance, again) {
		t.Error("other bits on three threads")
	}
}

// TestComponents: what the projection makes of the rows has mean zero, no correlations, and the variances that the
// exponent asks for; weak directions are not blown up beyond the floor.
func TestComponents(t *testing.T) {
	const dim, n, k = 12, 450, 7
	rows := someRows(dim, n, 3)
	m := someMoments(dim, n, 1)
	var variances []float64
	for _, whitening := range []float64{0, 0.5, 1} {
		p, err := m.components(k, whitening)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float64, n*k)
		for i := range n {
			for c := range k {
				x := p.bias[c]
				for j, w := range p.weight[c*dim:][:dim] {
					x += w * float64(rows[i*dim+j])
				}
				out[i*k+c] = x
			}
		}
		for c := range k {
			for d := range k {
				var mean, product float64
				for i := range n {
					mean += out[i*k+c] / n
					product += out[i*k+c] * out[i*k+d] / n
				}
				want := 0.0
				if c == d {
					if whitening == 0 {
						variances = append(variances, product)
					}
					want = variances[c] / math.Pow(variances[c]/variances[0], whitening)
				}
				if math.Abs(mean) > 1e-5 || math.Abs(product-want) > 1e-5*variances[0] {
					t.Fatalf("whitening %v, components %d and %d: mean %v, covariance %v, want %v", whitening, c, d, mean, product, want)
				}
			}
		}
		unit := p.apply(rows, 2)
		for i := range n {
			var length, dot, square float64
			for c := range k {
				length += float64(unit[i*k+c]) * float64(unit[i*k+c])
				dot += float64(unit[i*k+c]) * out[i*k+c]
				square += out[i*k+c] * out[i*k+c]
			}
			if math.Abs(length-1) > 1e-6 || math.Abs(dot-math.Sqrt(square)) > 1e-6*math.Sqrt(square) {
				t.Fatalf("row %d is not brought to length 1: %v", i, unit[i*k:][:k])
			}
		}
	}
	flat := newMoments(3)
	flat.add([]float32{1, 5, 2, 2, 5, 2, 3, 5, 2}, 1) // varies in one direction only
	p, err := flat.components(3, 1)
	if err != nil {
		t.Fatal(err)
	}
	for c := 1; c < 3; c++ {
		for _, w := range p.weight[3*c:][:3] {
			if math.Abs(w) > 1/math.Sqrt(finishFloor)+1e-9 {
				t.Errorf("a direction without variance has weight %v", w)
			}
		}
	}
	equal := newMoments(2)
	equal.add([]float32{1, 2, 1, 2}, 1)
	if p, err := equal.components(2, 1); err != nil || slices.ContainsFunc(p.weight, math.IsNaN) {
		t.Errorf("equal rows: %v, %v", p, err)
	}
}

// TestFoldedLinear: one layer does the work of two.
func TestFoldedLinear(t *testing.T) {
	p, err := someMoments(8, 300, 1).components(5, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	a := miniNet(16)
	w := embedder.InitWeights(a, rand.New(rand.NewPCG(4, 4)))
	for i := range w["layers.7.bias"].Data {
		w["layers.7.bias"].Data[i] = float32(i)
	}
	f := FinishOptions{PCA: true, KeepLinear: true, Mirror: true}
	before, beforeWeights := f.add(a, w)
	after, afterWeights := f.project(before, beforeWeights, p)
	images := stripes(5, 16, 2).images
	embed := func(a embedder.Architecture, w embedder.Weights) []float32 {
		e, err := embedder.New(a, w, embedder.Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		x, err := e.Embed(context.Background(), images, 1)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	got, want := embed(after, afterWeights), p.apply(embed(before, beforeWeights), 1)
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 1e-5 {
			t.Fatalf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
	if _, ok := w["layers.8.weight"]; ok || len(w["layers.7.bias"].Data) != 8 {
		t.Error("the trained weights were changed")
	}
}

// finishedOptions are a run with a head and all that a finish can be asked for.
func finishedOptions(t *testing.T) Options {
	o := miniOptions(t)
	o.Head = []embedder.Layer{{Kind: embedder.Linear, Out: 12}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU}, {Kind: embedder.Linear, Out: 6, Bias: true}, {Kind: embedder.L2Norm}}
	o.Finish = FinishOptions{PCA: true, Whitening: 0.5, NormalizeFirst: true, Mirror: true, Images: 30}
	o.Dim = 5
	return o
}

// TestFinishedRun: the encoder is the trained net with the components of the sampled training images, whatever the number
// of threads and however the run was interrupted.
func TestFinishedRun(t *testing.T) {
	eachNet(t, func(t *testing.T, makeNet func(networkConfig) (stepper, error)) {
		o := finishedOptions(t)
		var last Progress
		finishing := 0
		o.OnProgress = func(p Progress) {
			last = p
			if p.Phase == Finishing {
				finishing++
			}
		}
		want, err := run(t.Context(), o, makeNet)
		if err != nil {
			t.Fatal(err)
		}
		e, err := embedder.Load(o.Out)
		if err != nil {
			t.Fatal(err)
		}
		if e.Fingerprint() != want.Encoder.Fingerprint() || e.Dim() != 5 || !e.Normalized() {
			t.Errorf("%d values in the file", e.Dim())
		}
		if got := layerKinds(e.Architecture().Layers[6:]); got != "globalmean mirrormean l2norm linear l2norm" {
			t.Errorf("the encoder ends in %s", got)
		}
		if finishing != 1 || last.HeldBack == nil || last.HeldBack.Step != 40 || last.HeldBack.Purity == nil {
			t.Errorf("held back: %+v", last.HeldBack)
		}
		if !slices.ContainsFunc(want.Warnings, func(s string) bool {
			return strings.Contains(s, "principal components of 16 features are taken of 30 images")
		}) {
			t.Errorf("warnings %q", want.Warnings)
		}

		o = finishedOptions(t)
		o.Threads = 3
		got, err := run(t.Context(), o, makeNet)
		if err != nil || got.Encoder.Fingerprint() != want.Encoder.Fingerprint() {
			t.Errorf("on three threads another encoder (%v)", err)
		}

		// Interrupted within the training, and after the last step.
		for _, at := range []int{17, 40} {
			o = finishedOptions(t)
			ctx, cancel := context.WithCancel(t.Context())
			o.afterStep = func(step int) {
				if step == at {
					cancel()
				}
			}
			_, err = run(ctx, o, makeNet)
			if interrupted := new(InterruptedError); !errors.As(err, &interrupted) || interrupted.Step != at {
				t.Fatalf("error %v", err)
			}
			o.afterStep, o.Resume = nil, true
			other := o
			other.Finish.Whitening = 1
			if _, err := run(t.Context(), other, makeNet); !errors.Is(err, ErrMismatch) {
				t.Errorf("resumed with another finish: %v", err)
			}
			if got, err = run(t.Context(), o, makeNet); err != nil || got.Encoder.Fingerprint() != want.Encoder.Fingerprint() {
				t.Errorf("interrupted at %d: another encoder (%v)", at, err)
			}
		}

		o = finishedOptions(t)
		o.Finish.Images = 29
		if got, err = run(t.Context(), o, makeNet); err != nil || got.Encoder.Fingerprint() == want.Encoder.Fingerprint() {
			t.Errorf("the sample does not matter (%v)", err)
		}
	})
}

// TestMeasureUnfinished: where the components are those of the same images, the measurement is that of the finished encoder.
func TestMeasureUnfinished(t *testing.T) {
	o := finishedOptions(t)
	o, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	m := stripes(60, 16, 3)
	c := testCorpus(m, 16)
	s := newHeldBackSet(c, allRows(60), o)
	w := embedder.InitWeights(o.Architecture, rand.New(rand.NewPCG(4, 4)))
	head := initHeadWeights(o.Architecture.OutputDim(), o.Head, rand.New(rand.NewPCG(5, 5)))
	got, err := s.measure(t.Context(), trainedNet{o.Architecture, w}, head, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	trained := w
	a, w := o.Finish.add(o.Architecture, w)
	e, err := embedder.New(a, w, embedder.Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := momentsOf(t.Context(), e, c, allRows(60), 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := all.components(o.Dim, o.Finish.Whitening)
	if err != nil {
		t.Fatal(err)
	}
	a, w = o.Finish.project(a, w, p)
	want, err := s.measure(t.Context(), trainedNet{o.Architecture, trained}, head, &trainedNet{a, w}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.Purity.At10-want.Purity.At10) > 0.01 || math.Abs(got.Match-want.Match) > 0.02 || got.Purity.Chance != want.Purity.Chance {
		t.Errorf("%+v %+v, want %+v %+v", got, got.Purity, want, want.Purity)
	}
}

// TestFinishPreset: a preset's own linear layer is replaced, and Dim is the finished one.
func TestFinishPreset(t *testing.T) {
	o, err := PresetByName("tiny")
	if err != nil {
		t.Fatal(err)
	}
	o.Finish.PCA, o.Dim, o.Data = true, 24, &memory{images: make([]*dataset.Image, 1)}
	o, err = o.complete()
	if err != nil {
		t.Fatal(err)
	}
	o.Architecture.Std = [3]float32{1, 1, 1}
	if o.Dim != 24 || o.Architecture.OutputDim() != 64 || o.Architecture.Normalized() || o.Finish.Images != 20_000 {
		t.Errorf("dim %d of %d features, finish %+v", o.Dim, o.Architecture.OutputDim(), o.Finish)
	}
}

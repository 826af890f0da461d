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

	"imgsearch/embedder"
)

// slowMany is the definition of the losses of many views: e holds one embedding a row, all first views, then all second
// ones and so on, full-size views first.
func slowMany(o LossOptions, m MultiViewOptions, groups int, e [][]float64) scores {
	dot := func(a, b []float64) float64 {
		var s float64
		for i := range a {
			s += a[i] * b[i]
		}
		return s
	}
	d := func(a, b []float64) float64 { return math.Sqrt(max(0, dot(a, a)+dot(b, b)-2*dot(a, b))) }
	if o.Loss != LossSmoothTriplet {
		unit := make([][]float64, len(e))
		for i, a := range e {
			for _, x := range a {
				unit[i] = append(unit[i], x/math.Sqrt(dot(a, a)))
			}
		}
		e = unit
	}
	keys := m.rows(o) * groups
	var out scores
	var all, positives, triplets float64
	for i, a := range e {
		var loss, count float64
		weight := 1.0
		if i >= keys {
			weight = m.CropWeight
		}
		for p := range keys {
			if p == i || p%groups != i%groups {
				continue
			}
			count++
			sum := 1.0
			out.positive += d(a, e[p])
			for n := range keys {
				if n%groups == i%groups {
					continue
				}
				triplets++
				out.negative += d(a, e[n])
				if d(a, e[p])-d(a, e[n])+o.Margin > 0 {
					out.active++
				}
				if o.Loss == LossNTXent {
					sum += math.Exp((dot(a, e[n]) - dot(a, e[p])) / o.Temperature)
				} else {
					sum += math.Exp((d(a, e[p]) - d(a, e[n])) / o.Temperature)
				}
			}
			loss += math.Log(sum)
		}
		out.loss += weight * loss / count
		all += weight
		positives += count
	}
	out.loss /= all
	out.positive /= positives
	// The mean over anchors, each negative once.
	out.negative = 0
	for i, a := range e {
		for n := range keys {
			if n%groups != i%groups {
				out.negative += d(a, e[n]) / float64(len(e)*(keys-keys/groups))
			}
		}
	}
	out.active /= triplets
	if o.Loss != LossEMP {
		return out
	}
	out.active = math.NaN()
	emp, dim, views := o.EMP.complete(), len(e[0]), len(e)/groups
	out.loss = 0
	for v := range views {
		a := make([][]float64, dim)
		for i := range a {
			a[i] = make([]float64, dim)
			a[i][i] = 1
			for j := range a[i] {
				for _, z := range e[v*groups:][:groups] {
					a[i][j] += float64(dim) / (float64(groups) * emp.Distortion) * z[i] * z[j]
				}
			}
		}
		out.loss -= 0.5 * math.Log(determinant(a)) / float64(views*dim)
	}
	for g := range groups {
		mean := make([]float64, dim)
		for v := range views {
			for j, x := range e[v*groups+g] {
				mean[j] += x / float64(views)
			}
		}
		for v := range views {
			out.loss -= emp.Alignment * dot(e[v*groups+g], mean) / math.Sqrt(dot(mean, mean)) / float64(views*groups*dim)
		}
	}
	return out
}

// determinant eliminates.
func determinant(a [][]float64) float64 {
	det := 1.0
	for i := range a {
		det *= a[i][i]
		for r := i + 1; r < len(a); r++ {
			f := a[r][i] / a[i][i]
			for c := range a {
				a[r][c] -= f * a[i][c]
			}
		}
	}
	return det
}

var manyLosses = []LossOptions{
	{Loss: LossSmoothTriplet, Temperature: 0.5, Margin: 0.2}, {Loss: LossNTXent, Temperature: 0.3},
	{Loss: LossEMP, EMP: EMPOptions{Alignment: 3, Distortion: 0.5}},
}

// manyViews are numbers of views and crops, for losses alone and for tiny nets.
var manyViews = []MultiViewOptions{
	{}, {Views: 3}, {Views: 5}, {Crops: 1, CropWeight: 1}, {Crops: 3, CropWeight: 0.3}, {Views: 4, Crops: 2, CropWeight: 2},
}

func TestLossesOfManyViews(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	for _, o := range manyLosses {
		for _, m := range manyViews {
			for _, groups := range []int{2, 7} {
				name := fmt.Sprintf("%s, %d views, %d crops, %d groups", o.Loss, m.rows(o), m.Crops, groups)
				const dim = 5
				e := make([]float64, (m.rows(o)+m.Crops)*groups*dim)
				for i := range e {
					e[i] = rng.NormFloat64()
					if first := i % (groups * dim); i%2 > 0 && first != i {
						e[i] = e[first] + 0.3*e[i]
					}
				}
				s := newManyScorer[float64](o, m, groups, dim, 2)
				sameScores(t, name, s.score(e), slowMany(o, m, groups, rowsOf(e, dim)), 1e-10)
				for i := range e {
					const h = 1e-6
					old := e[i]
					e[i] = old + h
					up := slowMany(o, m, groups, rowsOf(e, dim)).loss
					e[i] = old - h
					down := slowMany(o, m, groups, rowsOf(e, dim)).loss
					e[i] = old
					if want := (up - down) / (2 * h); math.Abs(s.gradient[i]-want) > 1e-8+gradientTolerance*math.Abs(want) {
						t.Fatalf("%s: gradient %d is %v: central difference %v", name, i, s.gradient[i], want)
					}
				}
				e32 := make([]float32, len(e))
				for i, v := range e {
					e32[i] = float32(v)
				}
				s32 := newManyScorer[float32](o, m, groups, dim, 1)
				got := s32.score(e32)
				sameScores(t, name+", float32", got, slowMany(o, m, groups, rowsOf(e, dim)), 1e-5)
				for i, v := range s32.gradient {
					if math.Abs(float64(v)-s.gradient[i]) > 1e-5 {
						t.Fatalf("%s: float32 gradient %d is %v: want %v", name, i, v, s.gradient[i])
					}
				}
				for _, threads := range []int{2, 5} {
					other := newManyScorer[float32](o, m, groups, dim, threads)
					sameScores(t, fmt.Sprint(name, ", ", threads, " threads"), other.score(e32), got, 0)
					if !slices.Equal(other.gradient, s32.gradient) {
						t.Fatalf("%s: the gradient is another one on %d threads", name, threads)
					}
				}
				if o.Loss == LossEMP {
					continue
				}
				if !m.many() { // the loss of two views
					two := newScorer[float64](o, groups, dim, 1)
					sameScores(t, name, s.score(e), two.score(e), 1e-12)
					for i, v := range two.gradient {
						if math.Abs(v-s.gradient[i]) > 1e-12 {
							t.Fatalf("%s: gradient %d is %v: that of two views is %v", name, i, s.gradient[i], v)
						}
					}
				}
				for i := range e {
					e[i] = float64(i%dim) + 1
				}
				if got, want := s.score(e).loss, m.equalLoss(o, groups); math.Abs(got-want) > 1e-9 {
					t.Errorf("%s: loss of equal embeddings %v: want %v", name, got, want)
				}
			}
		}
	}
}

// TestFarViews: sums of exponential functions neither overflow nor vanish.
func TestFarViews(t *testing.T) {
	const groups, dim = 3, 2
	m := MultiViewOptions{Views: 3}
	for _, o := range []LossOptions{{Loss: LossSmoothTriplet, Temperature: 0.001}, {Loss: LossNTXent, Temperature: 0.001}} {
		e := make([]float32, 3*groups*dim)
		for i := range 3 * groups {
			sin, cos := math.Sincos(float64(i*i) * 0.7)
			e[2*i], e[2*i+1] = float32(sin), float32(cos)
		}
		s := newManyScorer[float32](o, m, groups, dim, 1)
		got := s.score(e)
		if math.IsNaN(got.loss) || math.IsInf(got.loss, 0) || slices.ContainsFunc(s.gradient, func(x float32) bool { return x != x || math.IsInf(float64(x), 0) }) {
			t.Errorf("%s: loss %v, gradient %v", o.Loss, got.loss, s.gradient)
		}
		e[3] = float32(math.NaN())
		if got := s.score(e); !math.IsNaN(got.loss) {
			t.Errorf("%s: loss %v of NaN", o.Loss, got.loss)
		}
	}
}

// manyConfig is a tiny net with crops.
func manyConfig(a embedder.Architecture, o LossOptions, m MultiViewOptions, groups int) networkConfig {
	m.CropSize = a.InputSize - 2
	c := testConfig(a, o, groups)
	if a.OutputDim() > 3 { // of fewer values the head may leave nothing but zeros
		c = withHead(c)
	}
	c.MultiView, c.Rows = m, m.rows(o)
	return c
}

func TestGradientsOfManyViews(t *testing.T) {
	for _, net := range []string{"conv-bn", "odd"} {
		for _, o := range manyLosses {
			for _, m := range []MultiViewOptions{{Views: 3}, {Crops: 3, CropWeight: 0.3}, {Views: 4, Crops: 2, CropWeight: 2}} {
				t.Run(fmt.Sprintf("%s/%s-%d-%d", net, o.Loss, m.rows(o), m.Crops), func(t *testing.T) {
					c := manyConfig(testNets()[net], o, m, 4)
					n, err := newNetOf[float64](c)
					if err != nil {
						t.Fatal(err)
					}
					n.close()
					checkGradients(t, c, randomInput(5, n.inputLen()))
				})
			}
		}
	}
}

// TestCropsInNetwork: weights are the same on any number of threads and after a restored state, running statistics are
// those of the full-size views, frozen first layers are no hindrance.
func TestCropsInNetwork(t *testing.T) {
	frozen := miniNet(16)
	frozen.Layers[0].Frozen = true
	for name, a := range map[string]embedder.Architecture{"conv-bn": testNets()["conv-bn"], "frozen": frozen} {
		for _, o := range manyLosses {
			c := manyConfig(a, o, MultiViewOptions{Views: 3, Crops: 2, CropWeight: 1}, 5)
			c.Momentum, c.Nesterov, c.WeightDecay = 0.9, true, 1e-3
			var want embedder.Weights
			for _, threads := range []int{1, 2, 7} {
				c.Threads = threads
				n := mustNetwork(t, c)
				rng := rand.New(rand.NewPCG(15, 16))
				for range 2 {
					if _, err := n.step(testImages(rng, n.inputLen()), 0.01); err != nil {
						t.Fatal(err)
					}
				}
				state := n.state()
				x := testImages(rng, n.inputLen())
				if _, err := n.step(x, 0.01); err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = n.state()
				}
				sameWeights(t, fmt.Sprintf("%s, %s, %d threads", name, o.Loss, threads), n.state(), want)
				m := mustNetwork(t, c)
				if _, err := m.step(x, 0.01); err != nil {
					t.Fatal(err)
				}
				if err := m.setState(state); err != nil {
					t.Fatal(err)
				}
				if _, err := m.step(x, 0.01); err != nil {
					t.Fatal(err)
				}
				sameWeights(t, name+": restored", m.state(), want)
			}
			without := c
			without.MultiView.Crops = 0
			n, m := mustNetwork(t, c), mustNetwork(t, without)
			x := testImages(rand.New(rand.NewPCG(17, 18)), n.inputLen())
			if _, err := n.step(x, 0.01); err != nil {
				t.Fatal(err)
			}
			if _, err := m.step(x[:m.inputLen()], 0.01); err != nil {
				t.Fatal(err)
			}
			for _, p := range a.Parameters() {
				if p.Role != embedder.RoleRunningMean && p.Role != embedder.RoleRunningVar {
					continue
				}
				if !slices.Equal(n.weights()[p.Name].Data, m.weights()[p.Name].Data) {
					t.Errorf("%s: %s depends on the crops", name, p.Name)
				}
			}
		}
	}
}

func TestMultiViewOptions(t *testing.T) {
	a := miniNet(16)
	nt := LossOptions{Loss: LossNTXent, Temperature: 0.1}
	got, err := MultiViewOptions{Crops: 2}.complete(a, nt, SizeOptions{})
	if want := (MultiViewOptions{Crops: 2, CropSize: 8, CropAreaLeast: 0.05, CropAreaMost: 0.25, CropWeight: 1}); err != nil || got != want {
		t.Errorf("defaults %+v, %v", got, err)
	}
	if got, err := (MultiViewOptions{}).complete(a, LossOptions{Loss: LossMSE}, SizeOptions{}); err != nil || got != (MultiViewOptions{}) {
		t.Errorf("nothing asked for: %+v, %v", got, err)
	}
	for want, m := range map[string]MultiViewOptions{
		"views 1":           {Views: 1},
		"views 33":          {Views: 33},
		"crops -1":          {Crops: -1},
		"crop size 17":      {Crops: 1, CropSize: 17},
		"crop size 7":       {Crops: 1, CropSize: 7},
		"most 1.5":          {Crops: 1, CropAreaMost: 1.5},
		"least 0.5":         {Crops: 1, CropAreaLeast: 0.5, CropAreaMost: 0.4},
		"most NaN":          {Crops: 1, CropAreaMost: math.NaN()},
		"crop weight -1":    {Crops: 1, CropWeight: -1},
		"crops 0":           {CropSize: 8},
		"views and crops 3": {Views: 3},
	} {
		l := nt
		if want == "views and crops 3" {
			l = LossOptions{Loss: LossTriplet, Miner: MinerHard}
		}
		if _, err := m.complete(a, l, SizeOptions{}); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v: want %q", m, err, want)
		}
	}
	large := miniNet(64)
	if _, err := (MultiViewOptions{Crops: 1, CropSize: 16}).complete(large, nt, SizeOptions{}); err == nil || !strings.Contains(err.Error(), "pixels along a side") {
		t.Errorf("crops that leave pixels out: %v", err)
	}
}

// TestManyViewsOfBatches: the first two views are those of a batch of two, all others are views of the same image, and
// differ.
func TestManyViewsOfBatches(t *testing.T) {
	const size, batch, small = 16, 3, 8
	c := testCorpus(stripes(20, size, 3), size)
	o := Options{Seed: 1, Views: strong, Threads: 1}
	o.Architecture.Std = [3]float32{1, 1, 1}
	two := startPipeline(newBatches(c, allRows(20), o, batch, 2), 0, 3, 2*batch, 3*size*size, 1)
	defer two.close()
	o.MultiView = MultiViewOptions{Views: 4, Crops: 2, CropSize: small, CropAreaLeast: 0.05, CropAreaMost: 0.25}
	many := startMixedPipeline(newBatchesOf(c, allRows(20), o, batch, 4, size), 0, 3, 4*batch, 3*size*size, 2*batch, 3*small*small, 1)
	defer many.close()
	for range 3 {
		a, b := two.next(), many.next()
		if len(b) != 3*batch*(4*size*size+2*small*small) {
			t.Fatalf("%d values", len(b))
		}
		if !slices.Equal(a, b[:len(a)]) {
			t.Error("the first two views are others")
		}
		seen := map[string]bool{}
		for row := range 6 * batch {
			seen[fmt.Sprint(many.row(b, row)[:20])] = true
		}
		if len(seen) != 6*batch {
			t.Errorf("%d different views of %d", len(seen), 6*batch)
		}
		two.release()
		many.release()
	}
}

// TestRunOfManyViews: with everything at once, weights do not depend on threads and interruptions.
func TestRunOfManyViews(t *testing.T) {
	for _, l := range manyLosses {
		o := miniOptions(t)
		o.Loss, o.Sizes, o.Head = l, growing, testHead
		o.MultiView = MultiViewOptions{Views: 3, Crops: 2}
		whole, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		o.Out, o.Threads = filepath.Join(t.TempDir(), "parts"), 3
		for _, stop := range []int{5, 12, 13, 39} {
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
		other.MultiView.Crops = 3
		if _, err := Run(t.Context(), other); !errors.Is(err, ErrMismatch) {
			t.Errorf("other views: error %v", err)
		}
		parts, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if parts.Encoder.Fingerprint() != whole.Encoder.Fingerprint() {
			t.Errorf("%s: weights differ from those of the uninterrupted run", l.Loss)
		}
	}
}

package training

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// slowLoss is the definition of the losses: e holds one embedding a row, all anchors, then all positives, then, for
// explicit triplets, all negatives.
func slowLoss(o LossOptions, groups int, e [][]float64) scores {
	if o.Loss == LossEMP {
		return slowMany(o, MultiViewOptions{}, groups, e)
	}
	d := func(a, b []float64) float64 {
		var s float64
		for i := range a {
			s += (a[i] - b[i]) * (a[i] - b[i])
		}
		return math.Sqrt(s)
	}
	if o.onUnits() {
		e = units(e)
	}
	var out scores
	var losses []float64
	var triplets, active float64
	see := func(a, p, n []float64) {
		triplets++
		out.negative += d(a, n)
		if d(a, p)-d(a, n)+o.Margin > 0 {
			active++
		}
	}
	if o.rows() == 3 {
		for i := range groups {
			a, p, n := e[i], e[groups+i], e[2*groups+i]
			see(a, p, n)
			out.positive += d(a, p) / float64(groups)
			losses = append(losses, max(d(a, p)-d(a, n)+o.Margin, 0))
		}
	} else {
		for i := range 2 * groups {
			j := (i + groups) % (2 * groups)
			a, p := e[i], e[j]
			out.positive += d(a, p) / float64(2*groups)
			var all []float64 // distances of the negatives
			for k := range e {
				if k != i && k != j {
					see(a, p, e[k])
					all = append(all, d(a, e[k]))
				}
			}
			switch o.Loss {
			case LossTriplet:
				for _, dn := range slowMiner(o.Miner, d(a, p), all) {
					if l := max(d(a, p)-dn+o.Margin, 0); l > 0 || o.Miner != MinerAll {
						losses = append(losses, l)
					}
				}
			case LossSmoothTriplet:
				s := 1.0
				for _, dn := range all {
					s += math.Exp((d(a, p) - dn) / o.Temperature)
				}
				losses = append(losses, math.Log(s))
			case LossNTXent, LossDecoupledNTXent:
				cosine := func(x, y []float64) float64 {
					var s float64
					for i := range x {
						s += x[i] * y[i]
					}
					return math.Exp(s / o.Temperature)
				}
				var s float64
				for k := range e {
					if k != i && (k != j || o.Loss == LossNTXent) {
						s += cosine(a, e[k])
					}
				}
				losses = append(losses, -math.Log(cosine(a, p)/s))
			case LossMSE, LossL1:
				for k := range a {
					if x := a[k] - p[k]; o.Loss == LossMSE {
						losses = append(losses, x*x)
					} else {
						losses = append(losses, math.Abs(x))
					}
				}
			}
		}
	}
	switch o.Loss {
	case LossAlignUniform:
		losses = []float64{slowAlignUniform(cmp.Or(o.Weights.Uniformity, 1), groups, e)}
	case LossVICReg:
		w := o.Weights
		losses = []float64{slowVICReg(cmp.Or(w.Invariance, 1), cmp.Or(w.Variance, 1), cmp.Or(w.Covariance, 0.04), e[:groups], e[groups:])}
	case LossBarlowTwins:
		losses = []float64{slowBarlowTwins(cmp.Or(o.Weights.Redundancy, 0.005), e[:groups], e[groups:])}
	}
	for _, l := range losses {
		out.loss += l / float64(len(losses))
	}
	out.negative /= triplets
	out.active = active / triplets
	if o.Loss == LossMSE || o.Loss == LossL1 {
		out.active = math.NaN()
	}
	return out
}

// units returns vectors at length 1.
func units(e [][]float64) [][]float64 {
	out := make([][]float64, len(e))
	for i, a := range e {
		var square float64
		for _, v := range a {
			square += v * v
		}
		for _, v := range a {
			out[i] = append(out[i], v/max(math.Sqrt(square), 1e-12))
		}
	}
	return out
}

// slowAlignUniform is the definition of alignment and uniformity of unit vectors.
func slowAlignUniform(weight float64, groups int, e [][]float64) float64 {
	var align, uniform, pairs float64
	for i := range e {
		for j := range e {
			var square float64
			for k := range e[i] {
				square += (e[i][k] - e[j][k]) * (e[i][k] - e[j][k])
			}
			switch {
			case i == j:
			case i%groups == j%groups:
				align += square / float64(len(e))
			default:
				uniform += math.Exp(-2 * square)
				pairs++
			}
		}
	}
	return align + weight*math.Log(uniform/pairs)
}

// slowCovariance returns the sum over the rows of a and b of (a_i - mean of a_i) * (b_j - mean of b_j).
func slowCovariance(a, b [][]float64, i, j int) float64 {
	var meanA, meanB, sum float64
	for k := range a {
		meanA += a[k][i] / float64(len(a))
		meanB += b[k][j] / float64(len(a))
	}
	for k := range a {
		sum += (a[k][i] - meanA) * (b[k][j] - meanB)
	}
	return sum
}

func slowVICReg(invariance, variance, covariance float64, a, b [][]float64) float64 {
	n, dim := float64(len(a)), float64(len(a[0]))
	var s, v, c float64
	for k := range a {
		for i := range a[k] {
			s += (a[k][i] - b[k][i]) * (a[k][i] - b[k][i]) / (n * dim)
		}
	}
	for _, z := range [][][]float64{a, b} {
		for i := range z[0] {
			v += max(0, 1-math.Sqrt(slowCovariance(z, z, i, i)/(n-1)+1e-4)) / (2 * dim)
			for j := range z[0] {
				if i != j {
					c += math.Pow(slowCovariance(z, z, i, j)/(n-1), 2) / dim
				}
			}
		}
	}
	return invariance*s + variance*v + covariance*c
}

func slowBarlowTwins(redundancy float64, a, b [][]float64) float64 {
	n, dim := float64(len(a)), float64(len(a[0]))
	var loss float64
	for i := range a[0] {
		for j := range a[0] {
			c := slowCovariance(a, b, i, j) / n /
				math.Sqrt((slowCovariance(a, a, i, i)/n+1e-5)*(slowCovariance(b, b, j, j)/n+1e-5))
			if i == j {
				loss += (1 - c) * (1 - c) / dim
			} else {
				loss += redundancy * c * c / dim
			}
		}
	}
	return loss
}

// slowMiner is the definition of the miners: which of the negatives' distances are picked.
func slowMiner(m Miner, positive float64, all []float64) []float64 {
	nearest, furthest, beyond := math.Inf(1), math.Inf(-1), math.Inf(1)
	for _, d := range all {
		nearest, furthest = min(nearest, d), max(furthest, d)
		if d > positive {
			beyond = min(beyond, d)
		}
	}
	switch {
	case m == MinerAll:
		return all
	case m == MinerHard:
		return []float64{nearest}
	case math.IsInf(beyond, 1):
		return []float64{furthest}
	default:
		return []float64{beyond}
	}
}

func rowsOf(e []float64, dim int) [][]float64 {
	var out [][]float64
	for i := 0; i < len(e); i += dim {
		out = append(out, e[i:i+dim])
	}
	return out
}

func sameScores(t *testing.T, what string, got, want scores, tolerance float64) {
	t.Helper()
	for _, v := range []struct {
		name      string
		got, want float64
	}{
		{"loss", got.loss, want.loss}, {"active", got.active, want.active},
		{"d(a,p)", got.positive, want.positive}, {"d(a,n)", got.negative, want.negative},
	} {
		if !(math.Abs(v.got-v.want) <= tolerance*max(1, math.Abs(v.want))) && !(math.IsNaN(v.got) && math.IsNaN(v.want)) {
			t.Errorf("%s: %s is %v: want %v", what, v.name, v.got, v.want)
		}
	}
}

func TestLosses(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	for _, o := range allLosses() {
		for _, groups := range []int{2, 3, 7} {
			const dim = 5
			t.Run(fmt.Sprintf("%s-%s-%d", o.Loss, o.Miner, groups), func(t *testing.T) {
				e := make([]float64, o.rows()*groups*dim)
				for i := range e {
					e[i] = rng.NormFloat64()
				}
				// Some triplets are solved.
				for i := range groups * dim {
					if i%3 > 0 {
						e[groups*dim+i] = e[i] + 0.1*rng.NormFloat64()
					}
				}
				s := newScorer[float64](o, groups, dim, 2)
				sameScores(t, "float64", s.score(e), slowLoss(o, groups, rowsOf(e, dim)), 1e-12)
				gradient := append([]float64(nil), s.gradient...)
				for i := range e {
					const h = 1e-6
					old := e[i]
					e[i] = old + h
					up := slowLoss(o, groups, rowsOf(e, dim)).loss
					e[i] = old - h
					down := slowLoss(o, groups, rowsOf(e, dim)).loss
					e[i] = old
					if want := (up - down) / (2 * h); math.Abs(gradient[i]-want) > 1e-8+gradientTolerance*math.Abs(want) {
						t.Errorf("gradient %d is %v: central difference %v", i, gradient[i], want)
					}
				}
				// float32, on any number of threads.
				e32 := make([]float32, len(e))
				for i, v := range e {
					e32[i] = float32(v)
				}
				s32 := newScorer[float32](o, groups, dim, 1)
				got := s32.score(e32)
				sameScores(t, "float32", got, slowLoss(o, groups, rowsOf(e, dim)), 1e-5)
				for i, v := range s32.gradient {
					if math.Abs(float64(v)-gradient[i]) > 1e-5+2e-5*math.Abs(gradient[i]) {
						t.Errorf("float32 gradient %d is %v: want %v", i, v, gradient[i])
					}
				}
				for _, threads := range []int{2, 5} {
					other := newScorer[float32](o, groups, dim, threads)
					sameScores(t, fmt.Sprint(threads, " threads"), other.score(e32), got, 0)
					for i, v := range other.gradient {
						if math.Float32bits(v) != math.Float32bits(s32.gradient[i]) {
							t.Fatalf("%d threads: gradient %d is %v: want %v", threads, i, v, s32.gradient[i])
						}
					}
				}
			})
		}
	}
}

// TestLossesOfBatches: on batches that are worth several threads, any number of them gives the same bits, near those of float64.
func TestLossesOfBatches(t *testing.T) {
	const groups, dim = 90, 67
	rng := rand.New(rand.NewPCG(23, 24))
	for _, o := range allLosses() {
		e := make([]float32, o.rows()*groups*dim)
		for i := range e {
			e[i] = float32(rng.NormFloat64())
			if i >= groups*dim && i < 2*groups*dim {
				e[i] = e[i-groups*dim] + 0.5*e[i]
			}
		}
		e64 := make([]float64, len(e))
		for i, v := range e {
			e64[i] = float64(v)
		}
		exact := newScorer[float64](o, groups, dim, 1)
		want := exact.score(e64)
		one := newScorer[float32](o, groups, dim, 1)
		got := one.score(e)
		name := fmt.Sprint(o.Loss, " ", o.Miner)
		sameScores(t, name, got, want, 1e-5)
		for i, v := range one.gradient {
			if w := exact.gradient[i]; math.Abs(float64(v)-w) > 1e-6+1e-5*math.Abs(w) {
				t.Fatalf("%s: gradient %d is %v: want %v", name, i, v, w)
			}
		}
		for _, threads := range []int{2, 3, 7} {
			other := newScorer[float32](o, groups, dim, threads)
			for range 2 { // what the first call leaves behind has no influence
				sameScores(t, fmt.Sprintf("%s, %d threads", name, threads), other.score(e), got, 0)
				for i, v := range other.gradient {
					if math.Float32bits(v) != math.Float32bits(one.gradient[i]) {
						t.Fatalf("%s, %d threads: gradient %d is %v: want %v", name, threads, i, v, one.gradient[i])
					}
				}
			}
		}
	}
}

// TestLossWeights: a term that is left out gives no loss and no gradient, and the others what they give without it.
func TestLossWeights(t *testing.T) {
	const groups, dim = 6, 4
	e := randomInput(25, 2*groups*dim)
	score := func(l Loss, w LossWeights) (float64, []float64) {
		s := newScorer[float64](LossOptions{Loss: l, Weights: w}, groups, dim, 1)
		loss := s.score(e).loss
		return loss, s.gradient
	}
	for _, test := range []struct {
		loss  Loss
		whole LossWeights
		parts []LossWeights
	}{
		{LossVICReg, LossWeights{Invariance: 3, Variance: 50, Covariance: 2}, []LossWeights{
			{Invariance: 3, Variance: -1, Covariance: -1}, {Invariance: -1, Variance: 50, Covariance: -1},
			{Invariance: -1, Variance: -1, Covariance: 2},
		}},
		{LossVICReg, LossWeights{Invariance: 1, Variance: 1, Covariance: 0.04}, []LossWeights{{}}},
		{LossBarlowTwins, LossWeights{Redundancy: 0.005}, []LossWeights{{}}},
		{LossAlignUniform, LossWeights{Uniformity: 1}, []LossWeights{{}}},
	} {
		want, wantGradient := score(test.loss, test.whole)
		var loss float64
		gradient := make([]float64, len(e))
		for _, part := range test.parts {
			l, g := score(test.loss, part)
			loss += l
			for i, v := range g {
				gradient[i] += v
			}
		}
		if math.Abs(loss-want) > 1e-12*math.Abs(want) {
			t.Errorf("%s %+v: %v, its parts %v", test.loss, test.whole, want, loss)
		}
		for i, v := range wantGradient {
			if math.Abs(gradient[i]-v) > 1e-12 {
				t.Errorf("%s %+v: gradient %d is %v, of its parts %v", test.loss, test.whole, i, v, gradient[i])
			}
		}
	}
	align, _ := score(LossAlignUniform, LossWeights{Uniformity: -1})
	if want := slowAlignUniform(0, groups, units(rowsOf(e, dim))); math.Abs(align-want) > 1e-12 {
		t.Errorf("alignment alone is %v: want %v", align, want)
	}
}

// TestLossesOfEqualEmbeddings: where d(a,p) or d(a,n) is 0 the distance has no derivative, and 0 is taken.
func TestLossesOfEqualEmbeddings(t *testing.T) {
	for _, o := range allLosses() {
		const groups, dim = 3, 4
		e := make([]float32, o.rows()*groups*dim)
		for i := range e {
			e[i] = float32(i%dim) - 1.5
		}
		s := newScorer[float32](o, groups, dim, 1)
		got := s.score(e)
		if o.Loss == LossNTXent {
			sameScores(t, string(o.Loss), got, scores{loss: math.Log(2*groups - 1), active: 0}, 1e-6)
		}
		if want := equalLoss(o, groups); !math.IsNaN(want) && math.Abs(got.loss-want) > 1e-6 {
			t.Errorf("%s %s: loss %v: want %v", o.Loss, o.Miner, got.loss, want)
		}
		for i, v := range s.gradient {
			if math.Abs(float64(v)) > 1e-6 {
				t.Errorf("%s %s: gradient %d is %v: want 0", o.Loss, o.Miner, i, v)
			}
		}
		// Only one pair is equal: what the others say still counts, and is finite.
		for i := range e {
			if i >= dim && (i < groups*dim || i >= (groups+1)*dim) {
				e[i] += float32(i*i%7) / 10
			}
		}
		s.score(e)
		for i, v := range s.gradient {
			if v != v || math.IsInf(float64(v), 0) {
				t.Errorf("%s %s: gradient %d is %v", o.Loss, o.Miner, i, v)
			}
		}
	}
}

// TestLossOfNaN: a net that has gone astray is seen.
func TestLossOfNaN(t *testing.T) {
	for _, o := range allLosses() {
		const groups, dim = 3, 4
		e := make([]float32, o.rows()*groups*dim)
		for i := range e {
			e[i] = float32(i * i % 11)
		}
		e[1] = float32(math.NaN())
		s := newScorer[float32](o, groups, dim, 1)
		if got := s.score(e); !math.IsNaN(got.loss) {
			t.Errorf("%s %s: loss %v: want NaN", o.Loss, o.Miner, got.loss)
		}
	}
}

func TestLossOptions(t *testing.T) {
	for _, o := range allLosses() {
		if err := o.validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []LossOptions{
		{},
		{Loss: "contrastive"},
		{Loss: LossTriplet},
		{Loss: LossTriplet, Miner: "easy"},
		{Loss: LossTriplet, Miner: MinerHard, Margin: -1},
		{Loss: LossTriplet, Miner: MinerHard, Margin: math.NaN()},
		{Loss: LossTriplet, Miner: MinerHard, Temperature: 1},
		{Loss: LossNTXent},
		{Loss: LossNTXent, Temperature: 0.1, Miner: MinerAll},
		{Loss: LossSmoothTriplet, Temperature: math.Inf(1)},
		{Loss: LossMSE, Temperature: 1},
		{Loss: LossDecoupledNTXent},
		{Loss: LossAlignUniform, Temperature: 1},
		{Loss: LossVICReg, Miner: MinerHard},
		{Loss: LossNTXent, Temperature: 1, Weights: LossWeights{Uniformity: 1}},
		{Loss: LossAlignUniform, Weights: LossWeights{Redundancy: 1}},
		{Loss: LossAlignUniform, Weights: LossWeights{Uniformity: -2}},
		{Loss: LossVICReg, Weights: LossWeights{Invariance: math.NaN()}},
		{Loss: LossVICReg, Weights: LossWeights{Variance: 10001}},
		{Loss: LossVICReg, Weights: LossWeights{Covariance: -0.5}},
		{Loss: LossBarlowTwins, Weights: LossWeights{Redundancy: math.Inf(1)}},
		{Loss: LossEMP, Temperature: 1},
		{Loss: LossEMP, EMP: EMPOptions{Alignment: -1}},
		{Loss: LossEMP, EMP: EMPOptions{Distortion: math.NaN()}},
		{Loss: LossNTXent, Temperature: 1, EMP: EMPOptions{Alignment: 1}},
	} {
		if err := o.validate(); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: error %v: want %v", o, err, ErrOptions)
		}
	}
}

func BenchmarkScore(b *testing.B) {
	for _, groups := range []int{256, 512, 1024} {
		for _, dim := range []int{64, 128, 256} {
			rng := rand.New(rand.NewPCG(1, 2))
			e := make([]float32, 2*groups*dim)
			for i := range groups * dim {
				e[i] = float32(rng.NormFloat64() / 8)
				e[groups*dim+i] = e[i] + float32(rng.NormFloat64()/16)
			}
			for _, o := range allLosses() {
				if o.rows() != 2 || o.Weights != (LossWeights{}) {
					continue
				}
				name := string(o.Loss)
				if o.Miner != "" {
					name += "-" + string(o.Miner)
				}
				b.Run(fmt.Sprintf("batch-%d/dim-%d/%s", groups, dim, name), func(b *testing.B) {
					s := newScorer[float32](o, groups, dim, 1)
					b.ReportAllocs()
					for b.Loop() {
						s.score(e)
					}
				})
			}
		}
	}
}

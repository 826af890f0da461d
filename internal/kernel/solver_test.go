package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var testAdamStep = AdamStep{Beta1: 0.75, Beta2: 0.9375, Keep: 0.875, MeanRate: 0.25, GradientRate: 0.125, Epsilon: 0.0625}

func TestAdamW(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		testAdamW[float32](t)
		testAdamW[float64](t)
	})
}

func testAdamW[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for n := range 150 {
		w, m, v, g := guarded[T](t, rng, n), guarded[T](t, rng, n), guarded[T](t, rng, n), guarded[T](t, rng, n)
		for i := range v {
			v[i] = max(v[i], -v[i])
		}
		w0, m0, v0 := slices.Clone(w), slices.Clone(m), slices.Clone(v)
		s := testAdamStep
		AdamW(w, m, v, g, s)
		for i := range w {
			g := float64(g[i])
			mean := s.Beta1*float64(m0[i]) + (1-s.Beta1)*g
			square := s.Beta2*float64(v0[i]) + (1-s.Beta2)*g*g
			near(t, m[i], mean, math.Abs(float64(m0[i]))+math.Abs(g), 3, "mean %d of %d", i, n)
			near(t, v[i], square, square, 3, "square %d of %d", i, n)
			root := math.Sqrt(square) + s.Epsilon
			scale := math.Abs(float64(w0[i])) + (math.Abs(float64(m0[i]))+math.Abs(g))/root
			near(t, w[i], s.Keep*float64(w0[i])-(s.MeanRate*mean+s.GradientRate*g)/root, scale, 5, "weight %d of %d", i, n)
		}
	}
}

func TestAdamWBits(t *testing.T) {
	for _, n := range []int{1, 7, 16, 63, 64, 65, 200} {
		sameBits(t, "", 3*n, func(rng *rand.Rand, out []float32) {
			g := guarded[float32](t, rng, n)
			for i := range out {
				out[i] = rng.Float32()
			}
			AdamW(out[:n], out[n:2*n], out[2*n:], g, testAdamStep)
		})
	}
}

func BenchmarkAdamW(b *testing.B) {
	const n = 1 << 12
	w, m, v, g := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	benchmarkPaths(b, func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(4 * 7 * n)
		for b.Loop() {
			AdamW(w, m, v, g, testAdamStep)
		}
	})
}

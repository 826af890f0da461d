package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestVectors(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		testVectors[float32](t)
		testVectors[float64](t)
	})
}

func testVectors[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		x, y := guarded[T](t, rng, n), guarded[T](t, rng, n)
		before, source := slices.Clone(y), slices.Clone(x)
		alpha := T(rng.NormFloat64())
		Axpy(alpha, x, y)
		for i := range y {
			near(t, y[i], float64(before[i])+float64(alpha)*float64(x[i]), math.Abs(float64(before[i]))+math.Abs(float64(alpha*x[i])), 1, "Axpy %d of %d", i, n)
		}
		var sum, scale float64
		for _, v := range x {
			sum += float64(v)
			scale += math.Abs(float64(v))
		}
		near(t, Sum(x), sum, scale, n, "Sum of %d", n)
		Scale(alpha, x)
		for i := range x {
			if x[i] != alpha*source[i] {
				t.Errorf("Scale %d of %d: got %v, want %v", i, n, x[i], alpha*source[i])
			}
		}
		Add(source, x)
		for i := range x {
			if x[i] != alpha*source[i]+source[i] && math.Abs(float64(x[i]-alpha*source[i]-source[i])) > 1e-6 {
				t.Errorf("Add %d of %d: got %v", i, n, x[i])
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

func BenchmarkVectors(b *testing.B) {
	x, y := make([]float32, 4096), make([]float32, 4096)
	for name, call := range map[string]func(){
		"Axpy":  func() { Axpy(0.5, x, y) },
		"Scale": func() { Scale(1, x) },
		"Sum":   func() { Sum(x) },
	} {
		b.Run(name, func(b *testing.B) {
			benchmarkPaths(b, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(4 * 4096)
				for b.Loop() {
					call()
				}
			})
		})
	}
}

package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestElementwise(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		testElementwise[float32](t)
		testElementwise[float64](t)
	})
}

func testElementwise[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for n := range 150 {
		x, y, z := guarded[T](t, rng, n), guarded[T](t, rng, n), guarded[T](t, rng, n)
		ReLU(z, x)
		for i, got := range z {
			if want := max(x[i], 0); got != want {
				t.Fatalf("ReLU %d of %d: got %v, want %v", i, n, got, want)
			}
		}
		ReLUGradient(z, y, x)
		for i, got := range z {
			want := T(0)
			if x[i] > 0 {
				want = y[i]
			}
			if got != want {
				t.Fatalf("ReLUGradient %d of %d: got %v, want %v", i, n, got, want)
			}
		}
		for _, relu := range []bool{false, true} {
			AddInto(z, x, y, relu)
			for i, got := range z {
				want := x[i] + y[i]
				if relu {
					want = max(want, 0)
				}
				if got != want {
					t.Fatalf("AddInto %d of %d: got %v, want %v", i, n, got, want)
				}
			}
		}
		// In place.
		in := slices.Clone(x)
		AddInto(in, in, y, true)
		if !slices.Equal(in, z) {
			t.Fatalf("AddInto of %d in place: got %v, want %v", n, in, z)
		}
		copy(in, x)
		ReLU(in, in)
		ReLUGradient(z, x, x)
		if !slices.Equal(in, z) {
			t.Fatalf("ReLU of %d in place: got %v, want %v", n, in, z)
		}
		for _, nesterov := range []bool{false, true} {
			w, v := guarded[T](t, rng, n), guarded[T](t, rng, n)
			w0, v0 := slices.Clone(w), slices.Clone(v)
			SGD(w, v, x, 0.25, 0.75, 0.125, nesterov)
			for i := range w {
				h := float64(x[i]) + 0.125*float64(w0[i])
				want := 0.75*float64(v0[i]) + h
				scale := math.Abs(float64(x[i])) + math.Abs(float64(w0[i])) + math.Abs(float64(v0[i]))
				near(t, v[i], want, scale, 3, "velocity %d of %d", i, n)
				if nesterov {
					want = h + 0.75*want
				}
				near(t, w[i], float64(w0[i])-0.25*want, scale, 4, "weight %d of %d", i, n)
			}
		}
	}
}

func TestElementwiseBits(t *testing.T) {
	for _, n := range []int{1, 7, 16, 63, 64, 65, 200} {
		sameBits(t, "", 6*n, func(rng *rand.Rand, out []float32) {
			x, y := guarded[float32](t, rng, n), guarded[float32](t, rng, n)
			for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1)} {
				x[rng.IntN(n)] = float32(v)
			}
			ReLU(out[:n], x)
			ReLUGradient(out[n:2*n], y, x)
			AddInto(out[2*n:3*n], x, y, false)
			AddInto(out[3*n:4*n], x, y, true)
			copy(out[4*n:], x)
			copy(out[5*n:], y)
			SGD(out[4*n:5*n], out[5*n:], y, 0.1, 0.9, 0.01, true)
		})
	}
}

// TestElementwiseNaN: what is no number stays none.
func TestElementwiseNaN(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		for n := 1; n < 40; n++ {
			x, y := make([]float32, n), make([]float32, n)
			x[n-1] = float32(math.NaN())
			ReLU(y, x)
			if y[n-1] == y[n-1] {
				t.Errorf("ReLU of NaN, %d values: %v", n, y[n-1])
			}
			for _, relu := range []bool{false, true} {
				AddInto(y, x, make([]float32, n), relu)
				if y[n-1] == y[n-1] {
					t.Errorf("AddInto of NaN, %d values: %v", n, y[n-1])
				}
			}
		}
	})
}

func BenchmarkElementwise(b *testing.B) {
	const n = 1 << 14
	x, y, z := make([]float32, n), make([]float32, n), make([]float32, n)
	for _, c := range []struct {
		name  string
		moved int // slices read and written
		call  func()
	}{
		{"ReLU", 2, func() { ReLU(y, x) }},
		{"ReLUGradient", 3, func() { ReLUGradient(z, y, x) }},
		{"AddInto", 3, func() { AddInto(z, y, x, true) }},
		{"SGD", 5, func() { SGD(z, y, x, 0.1, 0.9, 1e-4, true) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchmarkPaths(b, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(4 * c.moved * n))
				for b.Loop() {
					c.call()
				}
			})
		})
	}
}

package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRows(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		testRows[float32](t)
		testRows[float64](t)
	})
}

func testRows[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for n := range 150 {
		x, w := guarded[T](t, rng, n), guarded[T](t, rng, n)
		for i := range x {
			x[i] = T(math.Abs(float64(x[i])))
			if rng.IntN(5) == 0 {
				x[i] = 0
			}
		}
		source := slices.Clone(w)
		Quotients(w, x, 3)
		for i, got := range w {
			want := 0.0
			if x[i] != 0 {
				want = 3 * float64(source[i]) / float64(x[i])
			}
			near(t, got, want, math.Abs(want), 2, "Quotients %d of %d", i, n)
		}
		bound := T(rng.Float64())
		if n > 0 && rng.IntN(2) == 0 {
			bound = x[rng.IntN(n)]
		}
		count, least, most, above := 0, math.Inf(1), math.Inf(-1), math.Inf(1)
		for _, v := range x {
			if v < bound {
				count++
			}
			least, most = min(least, float64(v)), max(most, float64(v))
			if v > bound {
				above = min(above, float64(v))
			}
		}
		if got := CountBelow(x, bound); got != count {
			t.Fatalf("CountBelow of %d: got %d, want %d", n, got, count)
		}
		if l, m, a := RowRange(x, bound); float64(l) != least || float64(m) != most || float64(a) != above {
			t.Fatalf("RowRange of %d: got %v, %v, %v, want %v, %v, %v", n, l, m, a, least, most, above)
		}
		for i := range x {
			x[i] = -x[i]
		}
		if l, m, _ := RowRange(x, bound); float64(l) != -most || float64(m) != -least {
			t.Fatalf("RowRange of %d: got %v, %v, want %v, %v", n, l, m, -most, -least)
		}
		for i := range x {
			x[i] = -x[i]
		}
		y := guarded[T](t, rng, n)
		total := ExpSum(y, x, 0.25, -2)
		var sum float64
		for i, got := range y {
			want := math.Exp(-2 * (float64(x[i]) - 0.25))
			sum += want
			near(t, got, want, want*(1+4*math.Abs(float64(x[i])-0.25)), 1, "ExpSum %d of %d", i, n)
		}
		near(t, T(total), sum, sum, 8+n/16, "sum of ExpSum of %d", n)
		roots := slices.Clone(x)
		Sqrt(x)
		for i, got := range x {
			if want := T(math.Sqrt(float64(roots[i]))); got != want {
				t.Fatalf("Sqrt %d of %d: got %v, want %v", i, n, got, want)
			}
		}
	}
}

func TestSymmetrize(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		testSymmetrize[float32](t)
		testSymmetrize[float64](t)
	})
}

func testSymmetrize[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	for _, n := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 71, 100} {
		for _, threads := range []int{1, 3} {
			x := guarded[T](t, rng, n*n)
			before := slices.Clone(x)
			Symmetrize(threads, n, x)
			for i := range n {
				for j := range n {
					if got, want := x[i*n+j], before[i*n+j]+before[j*n+i]; got != want {
						t.Fatalf("%d rows: value %d, %d is %v, want %v", n, i, j, got, want)
					}
				}
			}
		}
	}
}

// TestExp: over all of its range.
func TestExp(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		const n = 1 << 16
		x, y := make([]float32, n), make([]float32, n)
		worst := 0.0
		for part := range 8 {
			for i := range x {
				x[i] = -105 + 195*(float32(i)+float32(part)/8)/n
			}
			ExpSum(y, x, 0, 1)
			for i, v := range y {
				want := math.Exp(float64(x[i]))
				if want > math.MaxFloat32*(1+0x1p-25) {
					if !math.IsInf(float64(v), 1) && float64(x[i]) > 88.73 {
						t.Fatalf("exp(%v) is %v", x[i], v)
					}
					continue
				}
				e := math.Abs(float64(v) - want)
				if e > 0x1p-22*want+0x1p-149 {
					t.Fatalf("exp(%v) is %v, want %v", x[i], v, want)
				}
				if want > 0x1p-126 {
					worst = max(worst, e/want)
				}
			}
		}
		t.Logf("off by at most %.3g of itself", worst)
		x = []float32{float32(math.Inf(-1)), float32(math.NaN()), 0, float32(math.Inf(1))}
		y = y[:4]
		sum := ExpSum(y, x, 0, 1)
		if y[0] != 0 || y[1] == y[1] || y[2] != 1 || !math.IsInf(float64(y[3]), 1) || sum == sum {
			t.Errorf("exp(%v) is %v, sum %v", x, y, sum)
		}
	})
}

func TestRowsBits(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 200} {
		sameBits(t, "", 3*n+5, func(rng *rand.Rand, out []float32) {
			x, w := guarded[float32](t, rng, n), guarded[float32](t, rng, n)
			for i := range x {
				x[i] *= x[i]
			}
			for _, v := range []float64{0, math.Inf(1), math.NaN()} {
				x[rng.IntN(n)] = float32(v)
			}
			copy(out, x)
			Sqrt(out[:n])
			copy(out[n:], w)
			Quotients(out[n:2*n], x, 0.3)
			out[3*n] = float32(ExpSum(out[2*n:3*n], x, 0.5, -3))
			out[3*n+1], out[3*n+2], out[3*n+3] = RowRange(x, 0.5)
			out[3*n+4] = float32(CountBelow(x, 0.5))
		})
	}
}

func BenchmarkRows(b *testing.B) {
	const n = 1024
	rng := rand.New(rand.NewPCG(1, 2))
	x, y, square := make([]float32, n), make([]float32, n), make([]float32, n*n)
	for i := range x {
		x[i] = rng.Float32() + 0.5
	}
	for _, c := range []struct {
		name   string
		values int64
		call   func()
	}{
		{"Sqrt", n, func() { Sqrt(x) }},
		{"Quotients", n, func() { Quotients(y, x, 1) }},
		{"CountBelow", n, func() { CountBelow(x, 1) }},
		{"RowRange", n, func() { RowRange(x, 1) }},
		{"ExpSum", n, func() { ExpSum(y, x, 1, -10) }},
		{"Symmetrize", n * n, func() { Symmetrize(1, n, square) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchmarkPaths(b, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(4 * c.values)
				for b.Loop() {
					c.call()
				}
			})
		})
	}
}

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// gemmOracle returns the elements of the product in float64, and the sums of the magnitudes.
func gemmOracle[T Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) (want, scale []float64) {
	for i := range m {
		for j := range n {
			var sum, size float64
			for p := range k {
				ia, ib := i*lda+p, p*ldb+j
				if transA {
					ia = p*lda + i
				}
				if transB {
					ib = j*ldb + p
				}
				v := float64(a[ia]) * float64(b[ib])
				sum += v
				size += math.Abs(v)
			}
			sum *= float64(alpha)
			size *= math.Abs(float64(alpha))
			if beta != 0 {
				v := float64(beta) * float64(c[i*ldc+j])
				sum += v
				size += math.Abs(v)
			}
			want, scale = append(want, sum), append(scale, size)
		}
	}
	return want, scale
}

type gemmCase[T Float] struct {
	transA, transB bool
	m, n, k        int
	alpha, beta    T
	lda, ldb, ldc  int
	a, b, c        []T
}

func newGemmCase[T Float](t *testing.T, rng *rand.Rand, m, n, k int) *gemmCase[T] {
	g := &gemmCase[T]{transA: rng.IntN(2) == 1, transB: rng.IntN(2) == 1, m: m, n: n, k: k}
	scalars := []T{0, 1, 1, 1, -1, 0.5, 2.25}
	g.alpha, g.beta = scalars[rng.IntN(len(scalars))], scalars[rng.IntN(len(scalars))]
	matrix := func(trans bool, rows, cols int) (int, []T) {
		if trans {
			rows, cols = cols, rows
		}
		ld := cols + rng.IntN(2)*rng.IntN(9)
		size := 0
		if rows > 0 && cols > 0 {
			size = (rows-1)*ld + cols
		}
		return ld, guarded[T](t, rng, size)
	}
	g.lda, g.a = matrix(g.transA, m, k)
	g.ldb, g.b = matrix(g.transB, k, n)
	g.ldc, g.c = matrix(false, m, n)
	return g
}

func (g *gemmCase[T]) String() string {
	return fmt.Sprintf("transA %v transB %v m %d n %d k %d alpha %v beta %v lda %d ldb %d ldc %d", g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.beta, g.lda, g.ldb, g.ldc)
}

func (g *gemmCase[T]) check(t *testing.T, threads int) {
	t.Helper()
	want, scale := gemmOracle(g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, g.beta, g.c, g.ldc)
	before := slices.Clone(g.c)
	GemmParallel(threads, g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, g.beta, g.c, g.ldc)
	for i := range g.m {
		for j := range g.n {
			near(t, g.c[i*g.ldc+j], want[i*g.n+j], scale[i*g.n+j], g.k, "%v: (%d,%d)", g, i, j)
		}
		if g.n > 0 && i+1 < g.m && !slices.Equal(g.c[i*g.ldc+g.n:(i+1)*g.ldc], before[i*g.ldc+g.n:(i+1)*g.ldc]) {
			t.Fatalf("%v: wrote between the rows of C", g)
		}
	}
}

// dims are sizes on both sides of every width of a panel.
var dims = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 23, 28, 29, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 100}

func TestGemmRandom(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		ks := append(slices.Clone(dims), 255, 256, 257, 300, 512, 513, 700)
		rounds := 300
		if testing.Short() {
			rounds = 100
		}
		for range rounds {
			m, n, k := dims[rng.IntN(len(dims))], dims[rng.IntN(len(dims))], ks[rng.IntN(len(ks))]
			newGemmCase[float32](t, rng, m, n, k).check(t, 1+rng.IntN(3))
		}
		for range rounds / 4 {
			m, n, k := dims[rng.IntN(len(dims))], dims[rng.IntN(len(dims))], ks[rng.IntN(len(ks))]
			newGemmCase[float64](t, rng, m, n, k).check(t, 1+rng.IntN(3))
		}
	})
}

// TestGemmThin covers the shapes of linear layers with few rows, which take their own way.
func TestGemmThin(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for _, size := range [][3]int{{1, 1, 3000}, {3, 700, 300}, {3, 300, 700}, {300, 700, 3}, {700, 3, 300}, {1, 5000, 20}, {5000, 1, 20}, {2, 2, 9000}, {7, 1030, 515}, {515, 1030, 7}} {
			for range 4 {
				newGemmCase[float32](t, rng, size[0], size[1], size[2]).check(t, 2)
			}
		}
	})
}

// TestGemmSameBits holds the promise about the order of summation: a part of the product is the same bit for bit as
// the same part of the whole, on any number of threads.
func TestGemmSameBits(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, size := range [][3]int{{37, 91, 300}, {64, 256, 576}, {3, 1024, 513}, {130, 45, 257}, {200, 300, 3}} {
			for range 8 {
				g := newGemmCase[float32](t, rng, size[0], size[1], size[2])
				first := slices.Clone(g.c)
				whole := slices.Clone(g.c)
				Gemm(g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, g.beta, whole, g.ldc)
				for threads := 1; threads <= 5; threads++ {
					got := slices.Clone(first)
					GemmParallel(threads, g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, g.beta, got, g.ldc)
					if !slices.Equal(got, whole) {
						t.Fatalf("%v: %d threads give other bits", g, threads)
					}
				}
				i0, j0 := rng.IntN(g.m), rng.IntN(g.n)
				rows, cols := 1+rng.IntN(g.m-i0), 1+rng.IntN(g.n-j0)
				ia, jb := i0*g.lda, j0
				if g.transA {
					ia = i0
				}
				if g.transB {
					jb = j0 * g.ldb
				}
				part := slices.Clone(first)
				Gemm(g.transA, g.transB, rows, cols, g.k, g.alpha, g.a[ia:], g.lda, g.b[jb:], g.ldb, g.beta, part[i0*g.ldc+j0:], g.ldc)
				for i := i0; i < i0+rows; i++ {
					if !slices.Equal(part[i*g.ldc+j0:][:cols], whole[i*g.ldc+j0:][:cols]) {
						t.Fatalf("%v: rows %d+%d, columns %d+%d alone give other bits", g, i0, rows, j0, cols)
					}
				}
			}
		}
	})
}

// TestGemmPathsAgree: the vector paths give the same bits.
func TestGemmPathsAgree(t *testing.T) {
	before := Name()
	defer func() { _ = choose(before) }()
	if choose("avx2") != nil || choose("avx512") != nil {
		t.Skip("this processor does not have both")
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		g := newGemmCase[float32](t, rng, 1+rng.IntN(70), 1+rng.IntN(70), 1+rng.IntN(600))
		var got [2][]float32
		for i, name := range []string{"avx2", "avx512"} {
			_ = choose(name)
			got[i] = slices.Clone(g.c)
			Gemm(g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, g.beta, got[i], g.ldc)
		}
		if !slices.Equal(got[0], got[1]) {
			t.Fatalf("%v: AVX2 and AVX-512 differ", g)
		}
	}
}

func TestGemmNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	forEachPath(t, func(t *testing.T) {
		for _, size := range []int{1, 3, 20, 70} {
			n := size
			a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
			for i := range a {
				a[i], b[i], c[i] = 1, 1, nan
			}
			Gemm(false, false, n, n, n, 1, a, n, b, n, 0, c, n)
			for i, v := range c {
				if v != float32(n) {
					t.Fatalf("size %d: beta 0 left %v at %d", n, v, i)
				}
			}
			a[(n/2)*n] = inf
			b[n-1] = nan
			Gemm(false, false, n, n, n, 1, a, n, b, n, 0, c, n)
			for i := range n {
				for j := range n {
					v := c[i*n+j]
					switch {
					case j == n-1:
						if v == v {
							t.Errorf("size %d (%d,%d): NaN got lost: %v", n, i, j, v)
						}
					case i == n/2:
						if v != inf {
							t.Errorf("size %d (%d,%d): got %v, want Inf", n, i, j, v)
						}
					case v != float32(n):
						t.Errorf("size %d (%d,%d): got %v, want %d", n, i, j, v, n)
					}
				}
			}
			// Nothing of A or B is read where alpha is 0.
			Gemm(false, false, n, n, n, 0, a, n, b, n, 0, c, n)
			if slices.ContainsFunc(c, func(v float32) bool { return v != 0 }) {
				t.Errorf("size %d: alpha 0, beta 0 is not 0", n)
			}
		}
	})
}

func TestGemmPanics(t *testing.T) {
	x := make([]float32, 12)
	for name, call := range map[string]func(){
		"short A":    func() { Gemm(false, false, 3, 4, 5, 1, x, 5, make([]float32, 20), 4, 0, x, 4) },
		"short B":    func() { Gemm(false, false, 3, 4, 4, 1, x, 4, x, 4, 0, x, 4) },
		"short C":    func() { Gemm(false, false, 4, 4, 3, 1, x, 3, x, 4, 0, x, 4) },
		"small lda":  func() { Gemm(false, false, 3, 4, 3, 1, x, 2, x, 4, 0, x, 4) },
		"small ldb":  func() { Gemm(false, true, 3, 4, 3, 1, x, 3, x, 2, 0, x, 4) },
		"negative m": func() { Gemm(false, false, -1, 4, 3, 1, x, 3, x, 4, 0, x, 4) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

func TestGemmAllocations(t *testing.T) {
	a, b, c := make([]float32, 64*64), make([]float32, 64*64), make([]float32, 64*64)
	forEachPath(t, func(t *testing.T) {
		if n := testing.AllocsPerRun(20, func() { Gemm(true, true, 64, 64, 64, 1, a, 64, b, 64, 0, c, 64) }); n > 1 {
			t.Errorf("%v allocations a call", n)
		}
	})
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range []struct {
		name           string
		transA, transB bool
		m, n, k        int
	}{
		{"NN512", false, false, 512, 512, 512},
		{"NT512", false, true, 512, 512, 512},
		{"TN512", true, false, 512, 512, 512},
		{"TT512", true, true, 512, 512, 512},
		{"conv64", false, false, 64, 1024, 576},
		{"conv16", false, false, 16, 1024, 27},
		{"conv64weights", false, true, 64, 576, 1024},
		{"conv64data", true, false, 576, 1024, 64},
		{"linear3", false, true, 3, 1024, 8192},
		{"linear3data", false, false, 3, 8192, 1024},
		{"linear3weights", true, false, 1024, 8192, 3},
		{"linear96", false, true, 96, 1024, 8192},
		{"linear96data", false, false, 96, 8192, 1024},
		{"linear96weights", true, false, 1024, 8192, 96},
	} {
		b.Run(s.name, func(b *testing.B) {
			benchmarkPaths(b, func(b *testing.B) {
				lda, ldb := s.k, s.n
				if s.transA {
					lda = s.m
				}
				if s.transB {
					ldb = s.k
				}
				x, y, z := make([]float32, s.m*s.k), make([]float32, s.k*s.n), make([]float32, s.m*s.n)
				for i := range x {
					x[i] = float32(i%7) - 3
				}
				for i := range y {
					y[i] = float32(i%5) - 2
				}
				b.ReportAllocs()
				b.SetBytes(int64(4 * (len(x) + len(y) + len(z))))
				for b.Loop() {
					Gemm(s.transA, s.transB, s.m, s.n, s.k, 1, x, lda, y, ldb, 0, z, s.n)
				}
				b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
}

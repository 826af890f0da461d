package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func distanceOracle(a, b []float32) (dot, squared, scaleDot, scaleSquared float64) {
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot += x * y
		scaleDot += math.Abs(x * y)
		squared += (x - y) * (x - y)
		scaleSquared += (x - y) * (x - y)
	}
	return dot, squared, scaleDot, scaleSquared
}

func TestDistances(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for dim := range 200 {
			testDistances(t, rng, dim, rng.IntN(21))
		}
		for _, dim := range []int{64, 128, 256, 512, 768, 1000, 3072} {
			for _, rows := range []int{0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33} {
				testDistances(t, rng, dim, rows)
			}
		}
	})
}

func testDistances(t *testing.T, rng *rand.Rand, dim, count int) {
	t.Helper()
	q := guarded[float32](t, rng, dim)
	rows := guarded[float32](t, rng, dim*count)
	dots, squares, each := guarded[float32](t, rng, count), guarded[float32](t, rng, count), guarded[float32](t, rng, count)
	DotRows(q, rows, dots)
	SquaredL2Rows(q, rows, squares)
	pointers := make([]*float32, count)
	for i := range pointers {
		if dim > 0 {
			pointers[i] = &rows[(count-1-i)*dim]
		}
	}
	SquaredL2Each(q, pointers, each)
	for i := range count {
		row := rows[i*dim:][:dim]
		dot, squared, scaleDot, scaleSquared := distanceOracle(q, row)
		what := fmt.Sprintf("dim %d, row %d of %d", dim, i, count)
		near(t, dots[i], dot, scaleDot, dim, "%s: DotRows", what)
		near(t, squares[i], squared, scaleSquared, dim, "%s: SquaredL2Rows", what)
		// The bits are the same whatever function computes them.
		if got := Dot(q, row); got != dots[i] {
			t.Errorf("%s: Dot %v, DotRows %v", what, got, dots[i])
		}
		if got := SquaredL2(q, row); got != squares[i] || each[count-1-i] != got {
			t.Errorf("%s: SquaredL2 %v, SquaredL2Rows %v, SquaredL2Each %v", what, got, squares[i], each[count-1-i])
		}
		if got := SquaredL2(row, q); got != squares[i] {
			t.Errorf("%s: SquaredL2 is not symmetric: %v, %v", what, got, squares[i])
		}
		if SquaredL2(row, row) != 0 {
			t.Errorf("%s: SquaredL2 of a row and itself is %v", what, SquaredL2(row, row))
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

func TestDistancePathsAgree(t *testing.T) {
	before := Name()
	defer func() { _ = choose(before) }()
	if choose("avx2") != nil || choose("avx512") != nil {
		t.Skip("this processor does not have both")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for dim := range 150 {
		a, b := guarded[float32](t, rng, dim), guarded[float32](t, rng, dim)
		_ = choose("avx2")
		dot, squared, sum := Dot(a, b), SquaredL2(a, b), Sum(a)
		_ = choose("avx512")
		if dot != Dot(a, b) || squared != SquaredL2(a, b) || sum != Sum(a) {
			t.Fatalf("dim %d: AVX2 gives %v, %v, %v, AVX-512 %v, %v, %v", dim, dot, squared, sum, Dot(a, b), SquaredL2(a, b), Sum(a))
		}
	}
}

func TestDistancesNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	forEachPath(t, func(t *testing.T) {
		for dim := 1; dim < 70; dim++ {
			for _, at := range []int{0, dim / 2, dim - 1} {
				for _, v := range []float32{nan, inf} {
					q, row, out := make([]float32, dim), make([]float32, dim*9), make([]float32, 9)
					for i := range q {
						q[i] = 1
					}
					row[dim*4+at] = v
					var pointers []*float32
					for i := range 9 {
						pointers = append(pointers, &row[i*dim])
					}
					for name, call := range map[string]func(){
						"DotRows":       func() { DotRows(q, row, out) },
						"SquaredL2Rows": func() { SquaredL2Rows(q, row, out) },
						"SquaredL2Each": func() { SquaredL2Each(q, pointers, out) },
					} {
						call()
						for i, got := range out {
							want := float32(dim)
							if name == "DotRows" {
								want = 0
							}
							if i == 4 {
								want = v
							}
							if got != want && (got == got || want == want) {
								t.Fatalf("%s, dim %d, %v at %d: row %d is %v", name, dim, v, at, i, got)
							}
						}
					}
				}
			}
		}
	})
}

func TestDistancePanics(t *testing.T) {
	x := make([]float32, 12)
	for name, call := range map[string]func(){
		"Dot":           func() { Dot(x, x[:11]) },
		"SquaredL2":     func() { SquaredL2(x[:3], x) },
		"DotRows":       func() { DotRows(x[:5], x, make([]float32, 2)) },
		"SquaredL2Rows": func() { SquaredL2Rows(x[:5], x, make([]float32, 3)) },
		"SquaredL2Each": func() { SquaredL2Each(x, make([]*float32, 2), make([]float32, 3)) },
		"Axpy":          func() { Axpy(1, x, x[:3]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of unequal lengths: no panic", name)
				}
			}()
			call()
		}()
	}
}

func BenchmarkDistances(b *testing.B) {
	for _, dim := range []int{64, 128, 3072} {
		for _, count := range []int{16, 1024, 1 << 16} {
			if dim*count > 1<<22 {
				continue
			}
			q, rows, out := make([]float32, dim), make([]float32, dim*count), make([]float32, count)
			pointers := make([]*float32, count)
			for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(count) {
				pointers[i] = (*float32)(unsafe.Pointer(&rows[j*dim]))
			}
			for name, call := range map[string]func(){
				"DotRows":       func() { DotRows(q, rows, out) },
				"SquaredL2Rows": func() { SquaredL2Rows(q, rows, out) },
				"SquaredL2Each": func() { SquaredL2Each(q, pointers, out) },
				"SquaredL2": func() {
					for i, p := range pointers {
						out[i] = SquaredL2(q, unsafe.Slice(p, dim))
					}
				},
			} {
				b.Run(fmt.Sprintf("%s/dim%d/rows%d", name, dim, count), func(b *testing.B) {
					benchmarkPaths(b, func(b *testing.B) {
						b.ReportAllocs()
						for b.Loop() {
							call()
						}
						b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(count), "ns/row")
					})
				})
			}
		}
	}
}

package eigen

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// TestSymmetricSmall has a matrix that can be solved by hand: 2 and 4 along the diagonals of the plane.
func TestSymmetricSmall(t *testing.T) {
	values, vectors, err := Symmetric([]float64{3, 1, 1, 3}, 2)
	if err != nil {
		t.Fatal(err)
	}
	FixSigns(vectors, 2)
	r := math.Sqrt(0.5)
	for i, want := range []float64{4, 2} {
		if math.Abs(values[i]-want) > 1e-14 {
			t.Errorf("values %v", values)
		}
	}
	if math.Abs(vectors[0]-r) > 1e-14 || math.Abs(vectors[1]-r) > 1e-14 || math.Abs(math.Abs(vectors[2])-r) > 1e-14 || math.Abs(vectors[2]+vectors[3]) > 1e-14 {
		t.Errorf("vectors %v", vectors)
	}
}

// TestSymmetric: a v = l v, orthonormal, falling, the same bits on one processor and on several.
func TestSymmetric(t *testing.T) {
	const n = 150
	rng := rand.New(rand.NewPCG(1, 2))
	a := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			a[i*n+j] = rng.NormFloat64()
			a[j*n+i] = a[i*n+j]
		}
	}
	before := slices.Clone(a)
	values, vectors, err := Symmetric(a, n)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a, before) {
		t.Error("the matrix was changed")
	}
	for k := range n {
		if k > 0 && values[k] > values[k-1] {
			t.Fatalf("value %d rises", k)
		}
		v := vectors[k*n:][:n]
		for i := range n {
			var av, product float64
			for j := range n {
				av += a[i*n+j] * v[j]
				product += v[j] * vectors[i*n+j]
			}
			if want := values[k] * v[i]; math.Abs(av-want) > 1e-11 {
				t.Fatalf("vector %d: %v where %v is wanted", k, av, want)
			}
			if i == k {
				product--
			}
			if math.Abs(product) > 1e-12 {
				t.Fatalf("vectors %d and %d are not orthonormal: %v", i, k, product)
			}
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	again, againVectors, err := Symmetric(a, n)
	if err != nil || !slices.Equal(values, again) || !slices.Equal(vectors, againVectors) {
		t.Errorf("on one processor other bits come out (%v)", err)
	}
}

func TestFixSigns(t *testing.T) {
	rows := []float32{1, -2, 2, -1, 0, 0}
	FixSigns(rows, 2)
	if want := []float32{-1, 2, 2, -1, 0, 0}; !slices.Equal(rows, want) {
		t.Errorf("%v, want %v", rows, want)
	}
}

func TestNotFinite(t *testing.T) {
	if _, _, err := Symmetric([]float64{math.NaN(), 0, 0, 1}, 2); !errors.Is(err, ErrConverge) {
		t.Errorf("error %v", err)
	}
}

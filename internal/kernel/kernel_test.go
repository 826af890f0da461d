package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// forEachPath runs the test once for each code path of this processor, with as many threads as are asked for however
// little they have to do.
func forEachPath(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	defer func(work int) { threadWork = work }(threadWork)
	threadWork = 1
	before := Name()
	defer func() {
		if err := choose(before); err != nil {
			t.Fatal(err)
		}
	}()
	for i, name := range pathNames {
		if !available[i] {
			t.Logf("this processor has no %s", name)
			continue
		}
		if err := choose(name); err != nil {
			t.Fatal(err)
		}
		t.Run(name, test)
	}
}

// benchmarkPaths runs the benchmark once for each code path of this processor.
func benchmarkPaths(b *testing.B, bench func(b *testing.B)) {
	before := Name()
	defer func() { _ = choose(before) }()
	for i, name := range pathNames {
		if available[i] {
			_ = choose(name)
			b.Run(name, bench)
		}
	}
}

const canary = 1.2345e30

// guarded returns n values drawn by rng within a larger slice, the slice beginning at an odd place, and a check that
// nothing around it was written.
func guarded[T Float](t *testing.T, rng *rand.Rand, n int) []T {
	t.Helper()
	front, back := 1+rng.IntN(19), 40
	all := make([]T, front+n+back)
	for i := range all {
		all[i] = canary
	}
	s := all[front : front+n : front+n]
	for i := range s {
		s[i] = T(rng.NormFloat64())
	}
	t.Cleanup(func() {
		for i, v := range all {
			if (i < front || i >= front+n) && v != canary {
				t.Errorf("wrote value %v at %d of a slice of %d", v, i-front, n)
				return
			}
		}
	})
	return s
}

// isNear tells whether got is within a few roundings of want, scale being the sum of the magnitudes that were added up.
func isNear[T Float](got T, want, scale float64, terms int) bool {
	eps := 0x1p-23
	if _, ok := any(got).(float64); ok {
		eps = 0x1p-52
	}
	return math.IsNaN(want) == math.IsNaN(float64(got)) && !(math.Abs(float64(got)-want) > eps*(4+float64(terms))*scale+1e-37)
}

// near ends the test unless got isNear want.
func near[T Float](t *testing.T, got T, want, scale float64, terms int, format string, args ...any) {
	t.Helper()
	if !isNear(got, want, scale, terms) {
		t.Fatalf("%s: got %v, want %v (scale %g)", fmt.Sprintf(format, args...), got, want, scale)
	}
}

func TestNameAndErr(t *testing.T) {
	before := Name()
	defer func() { _ = choose(before) }()
	if Name() == "" {
		t.Error("no name")
	}
	for i, name := range pathNames {
		err := choose(name)
		if (err == nil) != available[i] {
			t.Errorf("%s: available %v, error %v", name, available[i], err)
		}
		if available[i] && Name() != name {
			t.Errorf("asked for %s, got %s", name, Name())
		}
	}
	if err := choose("sse9"); err == nil || Name() == "sse9" {
		t.Errorf("unknown path: error %v, name %s", err, Name())
	} else {
		t.Log(err)
	}
}

func ExampleGemm() {
	a := []float32{1, 2, 3, 4, 5, 6} // [2, 3]
	b := []float32{1, 0, 0, 1, 1, 1} // [3, 2]
	c := make([]float32, 4)          // [2, 2]
	Gemm(false, false, 2, 2, 3, 1, a, 3, b, 2, 0, c, 2)
	fmt.Println(c)
	// Output: [4 5 10 11]
}

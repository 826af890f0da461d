package main

import (
	"math"
	"testing"
)

func TestQPSAt(t *testing.T) {
	curve := []point{{10, .9, 1000}, {20, .99, 100}, {40, .999, 10}}
	for _, c := range []struct{ recall, want float64 }{
		{.9, 1000}, {.99, 100}, {1 - math.Sqrt(.1*.01), math.Sqrt(1000 * 100)}, {.999, 10}, {.5, 1000},
	} {
		if got, ok := qpsAt(curve, c.recall, 10_000); !ok || math.Abs(got/c.want-1) > 1e-9 {
			t.Errorf("recall %v: %v, %v, want %v", c.recall, got, ok, c.want)
		}
	}
	if _, ok := qpsAt(curve, .9999, 10_000); ok {
		t.Error("a recall beyond the curve has a speed")
	}
	// A setting that is faster and better counts.
	if got, _ := qpsAt([]point{{10, .9, 100}, {20, .95, 200}}, .9, 1000); got != 200 {
		t.Errorf("got %v", got)
	}
}

func TestMedian(t *testing.T) {
	if median([]float64{3, 1, 2}) != 2 || median([]float64{4, 1}) != 2.5 || !math.IsNaN(median(nil)) {
		t.Error("median")
	}
}

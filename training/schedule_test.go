package training

import (
	"math"
	"testing"
)

func TestOneCycle(t *testing.T) {
	const steps = 1000
	var last float64
	for step := range steps {
		lr := OneCycle.rate(2, 0.1, 0, (float64(step)+0.5)/steps)
		switch {
		case lr <= 0 || lr > 2:
			t.Fatalf("step %d: %v", step, lr)
		case step > 0 && step < 100 && lr <= last:
			t.Fatalf("step %d: %v after %v while warming up", step, lr, last)
		case step > 100 && lr >= last:
			t.Fatalf("step %d: %v after %v while cooling down", step, lr, last)
		}
		last = lr
	}
	if last > 1e-4 {
		t.Errorf("ends at %v", last)
	}
	if mid := OneCycle.rate(2, 0.1, 0, 0.55); math.Abs(mid-1) > 0.01 {
		t.Errorf("half way down: %v, want 1", mid)
	}
	if only := OneCycle.rate(2, 0, 0, 0.5); only != 1 {
		t.Errorf("a single step without warm-up: %v, want 1", only)
	}
	if got := Constant.rate(0.5, 0.1, 0, 0.35); got != 0.5 {
		t.Errorf("constant: %v", got)
	}
}

func TestTrapezoid(t *testing.T) {
	for _, c := range []struct{ done, want float64 }{
		{0.05, 1}, {0.1, 2}, {0.5, 2}, {0.74, 2}, {0.875, 1}, {0.9999, 0.0008},
	} {
		if got := Trapezoid.rate(2, 0.1, 0.25, c.done); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v of the steps done: %v, want %v", c.done, got, c.want)
		}
	}
}

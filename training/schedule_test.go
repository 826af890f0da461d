package training

import (
	"math"
	"testing"
)

func TestOneCycle(t *testing.T) {
	const steps = 1000
	var last float64
	for step := range steps {
		lr := OneCycle.rate(2, 0.1, step, steps)
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
	if mid := OneCycle.rate(2, 0.1, 549, steps); math.Abs(mid-1) > 0.01 {
		t.Errorf("half way down: %v, want 1", mid)
	}
	if only := OneCycle.rate(2, 0, 0, 1); only != 1 {
		t.Errorf("a single step without warm-up: %v, want 1", only)
	}
	if got := Constant.rate(0.5, 0.1, 3, 10); got != 0.5 {
		t.Errorf("constant: %v", got)
	}
}

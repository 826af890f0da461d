package training

import (
	"slices"
	"testing"
)

func TestEpochVisitsEachImageOnce(t *testing.T) {
	s := newSampler(1, 20, 5)
	var orders [][]int32
	for epoch := range 3 {
		var seen []int32
		for step := range s.stepsPerEpoch() {
			seen = append(seen, s.anchors(epoch*s.stepsPerEpoch()+step)...)
		}
		orders = append(orders, slices.Clone(seen))
		slices.Sort(seen)
		for i, x := range seen {
			if int(x) != i {
				t.Fatalf("epoch %d visits %v", epoch, seen)
			}
		}
	}
	if slices.Equal(orders[0], orders[1]) {
		t.Error("two epochs in the same order")
	}
	if other := newSampler(2, 20, 5); slices.Equal(orders[0][:5], other.anchors(0)) {
		t.Error("two seeds give the same first batch")
	}
}

func TestSamplerHasNoMemory(t *testing.T) {
	a, b := newSampler(3, 17, 4), newSampler(3, 17, 4)
	for step := range 20 {
		want := slices.Clone(a.anchors(step))
		for _, detour := range []int{19, 0, step} {
			b.anchors(detour)
		}
		if got := b.anchors(step); !slices.Equal(got, want) {
			t.Fatalf("step %d: %v, want %v", step, got, want)
		}
	}
}

func TestNegativesAreUniformAndNeverTheAnchor(t *testing.T) {
	s := newSampler(1, 5, 1)
	counts := make([]int, 5)
	for step := range 8000 {
		n := s.negative(step, 0, 2)
		counts[n]++
	}
	if counts[2] != 0 {
		t.Error("the anchor is its own negative")
	}
	for i, c := range counts {
		if i != 2 && (c < 1800 || c > 2200) {
			t.Errorf("image %d drawn %d times, want about 2000", i, c)
		}
	}
}

func TestIntnIsUniform(t *testing.T) {
	r := newRNG(1, 1, 0, 0)
	counts := make([]int, 7)
	for range 70000 {
		counts[r.intn(7)]++
	}
	for i, c := range counts {
		if c < 9600 || c > 10400 {
			t.Errorf("%d drawn %d times, want about 10000", i, c)
		}
	}
}

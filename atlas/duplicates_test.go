package atlas

import (
	"cmp"
	"errors"
	"math"
	"reflect"
	"testing"
)

// onALine aligns numbers: two differ by a hundredth of their distance.
func onALine(pairs *int) func(a, b int32) (Alignment, error) {
	return func(a, b int32) (Alignment, error) {
		*pairs++
		return Alignment{Difference: math.Abs(float64(a-b)) / 100, ScaleX: 1, ScaleY: 1}, nil
	}
}

func linePairs(numbers ...[2]int32) []NearPair {
	var pairs []NearPair
	for _, n := range numbers {
		pairs = append(pairs, NearPair{n[0], n[1], Alignment{Difference: math.Abs(float64(n[0]-n[1])) / 100, ScaleX: 1, ScaleY: 1}})
	}
	return pairs
}

func TestGroupDuplicates(t *testing.T) {
	for name, test := range map[string]struct {
		pairs []NearPair
		want  map[int32][]int32
	}{
		"none": {nil, map[int32][]int32{}},
		"pair": {linePairs([2]int32{3, 7}), map[int32][]int32{3: {7}}},
		// 0 reaches 8 through 5; 16 is too far from it and has nobody left.
		"a chain is cut": {linePairs([2]int32{0, 5}, [2]int32{5, 8}, [2]int32{8, 16}), map[int32][]int32{0: {5, 8}}},
		"a film": {linePairs([2]int32{0, 6}, [2]int32{6, 12}, [2]int32{12, 18}, [2]int32{18, 24}),
			map[int32][]int32{0: {6}, 12: {18}}},
		"two groups": {linePairs([2]int32{1, 2}, [2]int32{50, 51}, [2]int32{50, 55}), map[int32][]int32{1: {2}, 50: {51, 55}}},
	} {
		asked := 0
		groups, err := GroupDuplicates(test.pairs, func(a, b int32) int { return cmp.Compare(a, b) }, NearDuplicate, onALine(&asked))
		if err != nil {
			t.Fatal(err)
		}
		got := map[int32][]int32{}
		for _, g := range groups {
			for _, m := range g.Copies {
				got[g.Keep] = append(got[g.Keep], m.Position)
			}
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestGroupDuplicatesIsLinear groups many equal pictures, of which each knows ten others.
func TestGroupDuplicatesIsLinear(t *testing.T) {
	const n = 20_000
	var pairs []NearPair
	for i := range int32(n) {
		for j := range int32(10) {
			if other := (i*7 + j*1931 + 1) % n; other != i {
				pairs = append(pairs, NearPair{A: i, B: other})
			}
		}
	}
	asked := 0
	groups, err := GroupDuplicates(pairs, func(a, b int32) int { return cmp.Compare(b, a) }, NearDuplicate,
		func(int32, int32) (Alignment, error) { asked++; return Alignment{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(groups) != 1 || groups[0].Keep != n-1 || len(groups[0].Copies) != n-1 || asked > n {
		t.Errorf("%d groups, the first of %d, %d comparisons", len(groups), len(groups[0].Copies), asked)
	}
}

func TestGroupDuplicatesPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	_, err := GroupDuplicates(linePairs([2]int32{0, 5}, [2]int32{5, 8}), func(a, b int32) int { return cmp.Compare(a, b) }, NearDuplicate,
		func(int32, int32) (Alignment, error) { return Alignment{}, broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestInvertedAlignment(t *testing.T) {
	for _, a := range []Alignment{
		{Difference: .02, ShiftX: .1, ShiftY: -.05, ScaleX: 1.2, ScaleY: .9},
		{ShiftX: .1, ScaleX: 1.1, ScaleY: 1.1, Mirrored: true},
	} {
		b := a.inverted().inverted()
		for _, pair := range [][2]float64{{a.ShiftX, b.ShiftX}, {a.ShiftY, b.ShiftY}, {a.ScaleX, b.ScaleX}, {a.ScaleY, b.ScaleY}} {
			if math.Abs(pair[0]-pair[1]) > 1e-12 {
				t.Errorf("%+v became %+v", a, b)
			}
		}
	}
}

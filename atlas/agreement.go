package atlas

import "math"

// table counts how often each pair of values stands at one place of two lists. Places with a negative value in either are
// left out.
type table struct {
	pairs map[[2]int32]int
	a, b  map[int32]int
	n     int
}

func newTable(a, b []int32) table {
	t := table{pairs: map[[2]int32]int{}, a: map[int32]int{}, b: map[int32]int{}}
	for i := range a {
		if a[i] >= 0 && b[i] >= 0 {
			t.pairs[[2]int32{a[i], b[i]}]++
			t.a[a[i]]++
			t.b[b[i]]++
			t.n++
		}
	}
	return t
}

// AdjustedRand tells how well two divisions of the same points into groups agree: 1 where they are the same, around 0 where
// they have no more in common than by chance (Hubert & Arabie 1985, "Comparing partitions"). Points with a negative group
// in either are left out.
func AdjustedRand(a, b []int32) float64 {
	t := newTable(a, b)
	pairs := func(n int) float64 { return float64(n) * float64(n-1) / 2 }
	var both, inA, inB float64 // whole numbers below 2^53, so that the order of the maps does not matter
	for _, n := range t.pairs {
		both += pairs(n)
	}
	for _, n := range t.a {
		inA += pairs(n)
	}
	for _, n := range t.b {
		inB += pairs(n)
	}
	expected := inA * inB / max(pairs(t.n), 1)
	most := (inA + inB) / 2
	if most == expected {
		return 1
	}
	return (both - expected) / (most - expected)
}

// MutualInformation is the information that two divisions share, over the mean of what each has: 0 where one tells nothing
// of the other, 1 where each tells all. Points with a negative group in either are left out.
func MutualInformation(a, b []int32) float64 {
	t := newTable(a, b)
	if t.n == 0 {
		return 0
	}
	// Sums of p log p depend on the order in the last bits: rounding hides the maps' own.
	entropy := func(counts map[int32]int) float64 {
		h := 0.0
		for _, n := range counts {
			h -= float64(n) / float64(t.n) * math.Log(float64(n)/float64(t.n))
		}
		return h
	}
	joint := 0.0
	for _, n := range t.pairs {
		joint -= float64(n) / float64(t.n) * math.Log(float64(n)/float64(t.n))
	}
	ha, hb := entropy(t.a), entropy(t.b)
	if ha+hb == 0 {
		return 1
	}
	return math.Round(1e9*2*(ha+hb-joint)/(ha+hb)) / 1e9
}

// Purity is the share of points that have the label which is commonest in their group. Points with a negative group or label
// are left out.
func Purity(groups, labels []int32) float64 {
	t := newTable(groups, labels)
	most := map[int32]int{}
	for pair, n := range t.pairs {
		most[pair[0]] = max(most[pair[0]], n)
	}
	sum := 0
	for _, n := range most {
		sum += n
	}
	return float64(sum) / float64(max(t.n, 1))
}

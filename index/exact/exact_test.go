package exact_test

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/indextest"
)

func TestConformance(t *testing.T) {
	indextest.Run(t, func(m index.Metric, dim int) (index.Index, error) { return exact.New(m, dim) }, 1)
}

// naive is the definition: all distances in float64, sorted.
func naive(m index.Metric, gallery, query []float32, k int) []index.Neighbor {
	type answer struct {
		id       dataset.ID
		distance float64
	}
	var all []answer
	for i := 0; i < len(gallery); i += len(query) {
		var l2, dot, a, b float64
		for j, q := range query {
			x, y := float64(gallery[i+j]), float64(q)
			l2 += (x - y) * (x - y)
			dot, a, b = dot+x*y, a+x*x, b+y*y
		}
		d := math.Sqrt(l2)
		if m == index.Cosine {
			d = 1 - dot/math.Sqrt(a*b)
		}
		all = append(all, answer{dataset.ID(i / len(query)), d})
	}
	slices.SortStableFunc(all, func(a, b answer) int { return cmp.Compare(a.distance, b.distance) })
	var out []index.Neighbor
	for _, a := range all[:k] {
		out = append(out, index.Neighbor{ID: a.id, Distance: float32(a.distance)})
	}
	return out
}

func TestEqualsTheDefinition(t *testing.T) {
	const n, dim, k = 2500, 19, 30
	gallery, queries := indextest.Clustered(1, n, dim, 30), indextest.Clustered(2, 20, dim, 30)
	for _, m := range []index.Metric{index.L2, index.Cosine} {
		x, err := exact.New(m, dim)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Add(indextest.IDs(0, n), gallery); err != nil {
			t.Fatal(err)
		}
		all, err := x.SearchAll(queries, k, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range all {
			want := naive(m, gallery, queries[i*dim:(i+1)*dim], k)
			for rank := range want {
				// Distances that differ by rounding only may change places.
				if math.Abs(float64(got[rank].Distance-want[rank].Distance)) > 2e-6*(1+float64(want[rank].Distance)) {
					t.Fatalf("%s, query %d, rank %d: got %v, want %v", m, i, rank+1, got[rank], want[rank])
				}
			}
			one, err := x.Search(queries[i*dim:(i+1)*dim], k)
			if err != nil || !slices.Equal(one, got) {
				t.Fatalf("%s, query %d: Search and SearchAll differ: %v", m, i, err)
			}
		}
	}
}

// TestEqualDistancesByID: of many equally near the lowest ids are taken, whatever was removed and added before.
func TestEqualDistancesByID(t *testing.T) {
	x, err := exact.New(index.L2, 2)
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000
	circle := make([]float32, 0, 2*n)
	for i := range n {
		circle = append(circle, [...]float32{3, 0, -3, 0, 3}[i%4], [...]float32{0, 3, 0, -3}[i%4])
	}
	ids := indextest.IDs(0, n)
	slices.Reverse(ids)
	if err := x.Add(ids, circle); err != nil {
		t.Fatal(err)
	}
	if err := x.Remove(0, 2, 4); err != nil {
		t.Fatal(err)
	}
	if err := x.Add([]dataset.ID{2}, []float32{0, 3}); err != nil {
		t.Fatal(err)
	}
	got, err := x.Search([]float32{0, 0}, 4)
	want := []index.Neighbor{{ID: 1, Distance: 3}, {ID: 2, Distance: 3}, {ID: 3, Distance: 3}, {ID: 5, Distance: 3}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestSearchAllChecksItsQueries(t *testing.T) {
	x, err := exact.New(index.Cosine, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.SearchAll([]float32{1, 2, 3}, 1, 0); !errors.Is(err, index.ErrVector) {
		t.Errorf("half a query: %v", err)
	}
	if _, err := x.SearchAll([]float32{1, 2, 0, 0}, 1, 0); !errors.Is(err, index.ErrVector) {
		t.Errorf("a zero query: %v", err)
	}
	if _, err := x.SearchAll([]float32{1, 2}, 0, 0); !errors.Is(err, index.ErrK) {
		t.Errorf("k of 0: %v", err)
	}
}

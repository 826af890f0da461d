package hnsw

import (
	"slices"
	"testing"

	"imgsearch/index"
	"imgsearch/index/indextest"
)

// TestCompact: answers stay, empty slots go, and the graph goes on to change.
func TestCompact(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.InnerProduct} {
		const n, dim = 2600, 24
		g, err := New(metric, dim, Options{M: 6, EfConstruction: 30, EfSearch: 60, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Add(indextest.IDs(7, n), indextest.Clustered(1, n, dim, 9)); err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(indextest.IDs(20, 500)...); err != nil {
			t.Fatal(err)
		}
		var before [][]index.Neighbor
		for i := range 20 {
			before = append(before, mustSearch(t, g, indextest.Clustered(uint64(i), 1, dim, 9), 5))
		}
		if err := g.Compact(); err != nil {
			t.Fatal(err)
		}
		if g.Slots() != n-500 || g.Len() != n-500 {
			t.Errorf("%d slots, %d embeddings", g.Slots(), g.Len())
		}
		for i, want := range before {
			if got := mustSearch(t, g, indextest.Clustered(uint64(i), 1, dim, 9), 5); !slices.Equal(got, want) {
				t.Fatalf("%v, before %v", got, want)
			}
		}
		if err := g.Add(indextest.IDs(20, 200), indextest.Clustered(2, 200, dim, 9)); err != nil {
			t.Fatal(err)
		}
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
		file := stored{}
		file.save(g, false)
		loaded, err := Load(file.read)
		if err != nil {
			t.Fatal(err)
		}
		q := indextest.Clustered(50, 1, dim, 9)
		if got, want := mustSearch(t, loaded, q, 5), mustSearch(t, g, q, 5); !slices.Equal(got, want) {
			t.Errorf("loaded %v, before %v", got, want)
		}
	}
}

func TestRemoveCompacts(t *testing.T) {
	const n, dim = 4200, 4
	embeddings := indextest.Clustered(1, n, dim, 9)
	for first, slots := range map[int]int{0: n, 7: 2000} { // where ids are the numbers of slots, they stay so
		g, err := New(index.L2, dim, Options{M: 4, EfConstruction: 10, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Add(indextest.IDs(first, n), embeddings); err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(indextest.IDs(first, 2200)...); err != nil {
			t.Fatal(err)
		}
		if err := g.Verify(); err != nil || g.Slots() != slots || g.Len() != 2000 || g.SlotIsID() != (first == 0) {
			t.Errorf("ids from %d: %d slots, %d embeddings, %v", first, g.Slots(), g.Len(), err)
		}
	}
}

//go:build !windows

package coder

import (
	"slices"
	"testing"

	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/indextest"
)

// recallFloor is as low as the library is: on clustered embeddings its graph falls apart into the clusters, and what is
// not reached cannot be ranked. docs/index.md has its recall on real ones.
const recallFloor = 0.9

func TestConformance(t *testing.T) {
	indextest.Run(t, func(m index.Metric, dim int) (index.Index, error) { return New(m, dim, Options{}) }, recallFloor)
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{M: 1}, {M: 500}, {Fetch: -1}, {Fetch: 1 << 20}} {
		if _, err := New(index.L2, 4, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestPanicsStayInside makes the library panic: the answers are then those of exact search.
func TestPanicsStayInside(t *testing.T) {
	const n, dim = 1500, 8
	embeddings := indextest.Clustered(1, n, dim, 5)
	x, err := New(index.L2, dim, Options{})
	if err != nil {
		t.Fatal(err)
	}
	truth, err := exact.New(index.L2, dim)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range []index.Index{x, truth} {
		if err := each.Add(indextest.IDs(0, n), embeddings); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		q := indextest.Clustered(2, 1, dim, 5)
		got, err := x.Search(q, 10)
		want, _ := truth.Search(q, 10)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", when, got, err, want)
		}
	}
	x.graph.Distance = nil // without it the library panics
	check("panic in Search")
	for _, each := range []index.Index{x, truth} {
		if err := each.Add(indextest.IDs(n, 10), indextest.Clustered(3, 10, dim, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if x.graph != nil {
		t.Error("a graph that panicked was kept")
	}
	check("panic in Add")
}

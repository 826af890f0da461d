package hnsw

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/indextest"
)

func TestConformance(t *testing.T) {
	indextest.Run(t, func(m index.Metric, dim int) (index.Index, error) { return New(m, dim, Options{}) }, 0.995)
}

// TestConformanceOfSparseGraphs: with the fewest links there are, everything is still found where all candidates are kept.
func TestConformanceOfSparseGraphs(t *testing.T) {
	indextest.Run(t, func(m index.Metric, dim int) (index.Index, error) {
		return New(m, dim, Options{M: 2, EfConstruction: 20, EfSearch: 600, Threads: 2})
	}, 0.9)
}

// recall is the share of the ten true neighbours that a search with ef finds, over a query set.
func recall(t testing.TB, g *Graph, truth [][]index.Neighbor, queries []float32, ef int) float64 {
	t.Helper()
	hits, total := 0, 0
	for i, want := range truth {
		got, err := g.SearchEf(queries[i*g.dim:(i+1)*g.dim], 10, ef)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range got {
			if n.Distance <= want[len(want)-1].Distance {
				hits++
			}
		}
		total += len(want)
	}
	return float64(hits) / float64(total)
}

// spread returns embeddings that are hard to search: around no centres, and of lengths that differ.
func spread(seed uint64, n, dim int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 3))
	out := make([]float32, n*dim)
	for i := range n {
		length := 0.5 + 2*rng.Float64()
		for j := range dim {
			out[i*dim+j] = float32(length * rng.NormFloat64())
		}
	}
	return out
}

// TestChangesKeepRecall adds, removes and replaces until nothing of the first graph is left; a graph made of the same
// embeddings at once is hardly better. efSearch is so low that both miss some.
func TestChangesKeepRecall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and changes graphs of 5,000 embeddings")
	}
	const n, dim, rounds = 5000, 16, 8
	rng := rand.New(rand.NewPCG(8, 8))
	queries := spread(1, 600, dim)
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		g, err := New(metric, dim, Options{})
		if err != nil {
			t.Fatal(err)
		}
		truth, err := exact.New(metric, dim)
		if err != nil {
			t.Fatal(err)
		}
		both := func(change func(x index.Index) error) {
			t.Helper()
			for _, x := range []index.Index{g, truth} {
				if err := change(x); err != nil {
					t.Fatal(err)
				}
			}
		}
		var held []dataset.ID
		next := 0
		for round := range rounds {
			add := n - len(held)
			ids, embeddings := indextest.IDs(next, add), spread(uint64(100+round), add, dim)
			next += add
			both(func(x index.Index) error { return x.Add(ids, embeddings) })
			held = append(held, ids...)
			if round == rounds-1 {
				break
			}
			rng.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
			gone := held[len(held)*2/3:]
			for part := range slices.Chunk(gone, 1+len(gone)/(1+round%4)) {
				both(func(x index.Index) error { return x.Remove(part...) })
			}
			held = held[:len(held)*2/3]
			if err := g.Verify(); err != nil {
				t.Fatalf("%s, round %d: %v", metric, round, err)
			}
		}
		fresh, err := New(metric, dim, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []dataset.ID
		var embeddings []float32
		for id, v := range truth.Embeddings() {
			ids, embeddings = append(ids, id), append(embeddings, v...)
		}
		if err := fresh.Add(ids, embeddings); err != nil {
			t.Fatal(err)
		}
		answers, err := truth.SearchAll(queries, 10, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, ef := range []int{20, 40, 80, 160} {
			changed, whole := recall(t, g, answers, queries, ef), recall(t, fresh, answers, queries, ef)
			t.Logf("%s, efSearch %d: recall@10 %.4f after changes, %.4f of a fresh graph", metric, ef, changed, whole)
			if changed < whole-.005 {
				t.Errorf("%s, efSearch %d: recall@10 %.4f after changes, %.4f of a fresh graph", metric, ef, changed, whole)
			}
		}
	}
}

// TestVerifyFindsDamage breaks a graph in each way that Verify knows of.
func TestVerifyFindsDamage(t *testing.T) {
	fresh := func() *Graph { return build(t, index.L2, 400, 4, 1) }
	upper := func(g *Graph) uint32 { return uint32(slices.IndexFunc(g.levels, func(l uint8) bool { return l > 0 })) }
	level0 := func(g *Graph) uint32 { return uint32(slices.Index(g.levels, 0)) }
	stranger := func(g *Graph, slot uint32) uint32 {
		for other := uint32(0); ; other++ {
			if other != slot && !slices.Contains(g.neighbors(slot, 0), other) && !slices.Contains(g.neighbors(other, 0), slot) {
				return other
			}
		}
	}
	for name, damage := range map[string]func(g *Graph){
		"link out of range":      func(g *Graph) { g.list(3, 0)[0] = 400 },
		"link to itself":         func(g *Graph) { g.list(3, 0)[0] = 3 },
		"two links to one":       func(g *Graph) { g.list(3, 0)[1] = g.list(3, 0)[0] },
		"link after the last":    func(g *Graph) { g.setNeighbors(3, 0, g.list(3, 0)[:3]); g.list(3, 0)[20] = 5 },
		"link to an empty slot":  func(g *Graph) { g.emptySlot(g.list(3, 0)[0]) },
		"link to a lower level":  func(g *Graph) { g.list(upper(g), 1)[0] = level0(g) },
		"empty slot with links":  func(g *Graph) { g.ids[7] = empty; g.live-- },
		"id twice":               func(g *Graph) { g.ids[7] = g.ids[8] },
		"count":                  func(g *Graph) { g.live++ },
		"entry point too low":    func(g *Graph) { g.entry = level0(g) },
		"entry point nowhere":    func(g *Graph) { g.entry = 400 },
		"top level":              func(g *Graph) { g.top++ },
		"parent out of range":    func(g *Graph) { g.parents[9] = 1 << 30 },
		"parent without links":   func(g *Graph) { g.parents[9] = stranger(g, 9) },
		"two roots":              func(g *Graph) { g.parents[9] = noSlot },
		"no root, a ring of all": func(g *Graph) { root := slices.Index(g.parents, noSlot); g.parents[root] = g.firstChild(uint32(root)) },
	} {
		g := fresh()
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
		damage(g)
		if err := g.Verify(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Verify found %v", name, err)
		}
	}
}

func (g *Graph) firstChild(slot uint32) uint32 { return uint32(slices.Index(g.parents, slot)) }

// TestTreeHasRoom fills the tree around a point until children must go farther away, and takes it apart again.
func TestTreeHasRoom(t *testing.T) {
	const n, dim = 1200, 3
	g, err := New(index.L2, dim, Options{M: 2, EfConstruction: 4, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	embeddings := make([]float32, n*dim) // half of them equal, the others around
	around := spread(5, n/2, dim)
	copy(embeddings, around)
	if err := g.Add(indextest.IDs(0, n), embeddings); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(6, 6))
	held := indextest.IDs(0, n)
	for len(held) > 0 {
		if err := g.Verify(); err != nil {
			t.Fatalf("%d left: %v", len(held), err)
		}
		if got, err := g.SearchEf(make([]float32, dim), len(held), 1); err != nil || len(got) != len(held) {
			t.Fatalf("%d left, %d reached: %v", len(held), len(got), err)
		}
		rng.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		gone := min(len(held), 1+rng.IntN(1+len(held)/3))
		if err := g.Remove(held[:gone]...); err != nil {
			t.Fatal(err)
		}
		held = held[gone:]
	}
}

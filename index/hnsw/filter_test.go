package hnsw

import (
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/indextest"
)

// among returns the k nearest to q, by the metric, of the embeddings that allow says yes to.
func among(g *Graph, q []float32, k int, allow func(dataset.ID) bool) []index.Neighbor {
	p := probe{embedding: q}
	if g.metric == index.Cosine {
		p.embedding, _ = index.Prepare(g.metric, g.dim, q)
	}
	var out []index.Neighbor
	for _, n := range g.scan(p, g.live, nil) {
		if allow(n.ID) && len(out) < k {
			out = append(out, n)
		}
	}
	return out
}

func TestFilters(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.Cosine, index.InnerProduct} {
		const n, dim, k = 4000, 32, 10
		g, err := New(metric, dim, Options{EfConstruction: 100, EfSearch: 100})
		if err != nil {
			t.Fatal(err)
		}
		embeddings := indextest.Clustered(71, n, dim, 20)
		if err := g.Add(indextest.IDs(0, n), embeddings); err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(indextest.IDs(50, 100)...); err != nil {
			t.Fatal(err)
		}
		for name, allow := range map[string]func(dataset.ID) bool{
			"1 %":     func(id dataset.ID) bool { return id%100 == 7 },
			"10 %":    func(id dataset.ID) bool { return id%10 == 7 },
			"50 %":    func(id dataset.ID) bool { return id%2 == 0 },
			"all":     func(dataset.ID) bool { return true },
			"none":    func(dataset.ID) bool { return false },
			"one":     func(id dataset.ID) bool { return id == 1234 },
			"far off": func(id dataset.ID) bool { return embeddings[int(id)*dim] > 1.2 },
		} {
			f := g.Filter(allow)
			for _, scanRows := range []float32{0, 1e-6, 1e6} { // unmeasured, never compares with all, always
				g.scanRows, g.scanAt = scanRows, int(min(1, math.Ceil(float64(scanRows))))*len(g.ids)
				hits, total := 0, 0
				for i := range 40 {
					q := indextest.Clustered(uint64(500+i), 1, dim, 20)
					got, err := g.SearchFiltered(q, k, 0, f)
					if err != nil {
						t.Fatal(err)
					}
					want := among(g, q, k, allow)
					if len(got) != len(want) {
						t.Fatalf("%s, %s: %d answers, want %d", metric, name, len(got), len(want))
					}
					for j, n := range got {
						if !allow(n.ID) || j > 0 && index.Compare(got[j-1], n) >= 0 {
							t.Fatalf("%s, %s: answers %v", metric, name, got)
						}
						if n.Distance <= want[len(want)-1].Distance+1e-6 {
							hits++
						}
					}
					total += len(want)
				}
				if float64(hits) < .99*float64(total) {
					t.Errorf("%s, %s, scanRows %v: %d of %d", metric, name, scanRows, hits, total)
				}
			}
		}
	}
}

func TestFilterIDs(t *testing.T) {
	g := build(t, index.L2, 300, 6, 1)
	f := g.FilterIDs(7, 7, 12, 100_000)
	if f.Len() != 2 {
		t.Errorf("len %d", f.Len())
	}
	if err := g.Add(indextest.IDs(300, 5), indextest.Clustered(73, 5, 6, 3)); err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(12); err != nil {
		t.Fatal(err)
	}
	got, err := g.SearchFiltered(make([]float32, 6), 5, 0, f)
	if err != nil || len(got) != 1 || got[0].ID != 7 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := g.SearchFiltered(make([]float32, 6), 0, 0, f); !errors.Is(err, index.ErrK) {
		t.Errorf("k of 0: %v", err)
	}
	if _, err := g.SearchFiltered(make([]float32, 5), 1, 0, f); !errors.Is(err, index.ErrVector) {
		t.Errorf("a short query: %v", err)
	}
}

func TestSearchRange(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.Cosine, index.InnerProduct} {
		const n, dim = 3000, 32
		g, err := New(metric, dim, Options{EfConstruction: 100, EfSearch: 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Add(indextest.IDs(0, n), indextest.Clustered(81, n, dim, 10)); err != nil {
			t.Fatal(err)
		}
		found, total := 0, 0
		for i := range 20 {
			q := indextest.Clustered(uint64(600+i), 1, dim, 10)
			all := among(g, q, n, func(dataset.ID) bool { return true })
			for _, count := range []int{0, 1, 30, 400} {
				limit := all[count].Distance
				if count == 0 {
					limit -= 1e-3
				}
				got, err := g.SearchRange(q, limit, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range got {
					if n.Distance > limit {
						t.Fatalf("%v is beyond %v", n, limit)
					}
				}
				if count == 0 && len(got) != 0 {
					t.Fatalf("%s: %d within less than the nearest", metric, len(got))
				}
				if count > 0 {
					found += min(len(got), count+1)
					total += count + 1
				}
			}
		}
		if float64(found) < .98*float64(total) {
			t.Errorf("%s: %d of %d within range", metric, found, total)
		}
	}
}

func TestSearchAll(t *testing.T) {
	g := build(t, index.Cosine, 500, 8, 2)
	queries := indextest.Clustered(91, 40, 8, 5)
	got, err := g.SearchAll(queries, 5, 30, 3)
	if err != nil || len(got) != 40 {
		t.Fatal(len(got), err)
	}
	for i, answer := range got {
		want, err := g.SearchEf(queries[i*8:i*8+8], 5, 30)
		if err != nil || !slices.Equal(answer, want) {
			t.Fatalf("query %d: %v, alone %v, %v", i, answer, want, err)
		}
	}
	if _, err := g.SearchAll(queries[:9], 5, 0, 1); !errors.Is(err, index.ErrVector) {
		t.Errorf("a part of a query: %v", err)
	}
	if _, err := g.SearchAll(queries, 0, 0, 1); !errors.Is(err, index.ErrK) {
		t.Errorf("k of 0: %v", err)
	}
}

// TestSearchBesideWriter searches in all ways while one goroutine adds, replaces, removes and rebuilds.
func TestSearchBesideWriter(t *testing.T) {
	const n, dim = 1400, 24
	g, err := New(index.L2, dim, Options{M: 8, EfConstruction: 30, EfSearch: 40, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	embeddings := indextest.Clustered(95, n, dim, 10)
	if err := g.Add(indextest.IDs(0, n/2), embeddings[:n/2*dim]); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	for reader := range 3 {
		group.Go(func() {
			for i := reader; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				q := embeddings[i%n*dim:][:dim]
				f := g.Filter(func(id dataset.ID) bool { return id%3 == 0 })
				_, err1 := g.Search(q, 5)
				_, err2 := g.SearchFiltered(q, 5, 0, f)
				_, err3 := g.SearchRange(q, 1, 0)
				if err := errors.Join(err1, err2, err3); err != nil || g.Has(1<<40) || g.Len() > g.Slots() {
					t.Errorf("%v, len %d", err, g.Len())
					return
				}
			}
		})
	}
	err = errors.Join(
		g.Add(indextest.IDs(n/2, n/2), embeddings[n/2*dim:]),
		g.Replace(indextest.IDs(10, 60), embeddings[:60*dim]),
		g.Remove(indextest.IDs(300, 50)...),
		g.MeasureScan(),
		g.SetEfSearch(50),
		g.Replace(indextest.IDs(400, 900), embeddings[:900*dim]),
		g.Remove(indextest.IDs(400, 900)...),
		g.Verify(),
	)
	close(done)
	group.Wait()
	if err != nil || g.Len() != n-950 {
		t.Errorf("%v, len %d", err, g.Len())
	}
}

package index_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"imgsearch/dataset"
	"imgsearch/evaluation"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/hnsw"
	"imgsearch/index/indextest"
	"imgsearch/internal/cifartest"
)

// A corpus is a gallery and a query set, [n, dim] each.
type corpus struct {
	name             string
	metric           index.Metric
	dim              int
	gallery, queries []float32

	once  sync.Once
	exact *exact.Index
	bound []float32 // of each query: the distance of its tenth neighbour
}

func (c *corpus) len() int { return len(c.gallery) / c.dim }

// truth makes the exact index and the bounds.
func (c *corpus) truth(tb testing.TB) *corpus {
	tb.Helper()
	c.once.Do(func() {
		x, err := exact.New(c.metric, c.dim)
		if err != nil {
			tb.Fatal(err)
		}
		if err := x.Add(indextest.IDs(0, c.len()), c.gallery); err != nil {
			tb.Fatal(err)
		}
		answers, err := x.SearchAll(c.queries, 10, 0)
		if err != nil {
			tb.Fatal(err)
		}
		for _, answer := range answers {
			c.bound = append(c.bound, answer[9].Distance)
		}
		c.exact = x
	})
	return c
}

// query returns query i, counting on from the first after the last.
func (c *corpus) query(i int) []float32 {
	i %= len(c.bound)
	return c.queries[i*c.dim : (i+1)*c.dim]
}

// recall is the ANN recall@10 of a search over all queries; a neighbour as close as the true tenth counts.
func (c *corpus) recall(tb testing.TB, search func(q []float32) ([]index.Neighbor, error)) float64 {
	tb.Helper()
	hits := 0
	for i, bound := range c.bound {
		got, err := search(c.query(i))
		if err != nil {
			tb.Fatal(err)
		}
		for _, n := range got {
			if n.Distance <= bound {
				hits++
			}
		}
	}
	return float64(hits) / float64(10*len(c.bound))
}

const benchDim = 64

var clustered = sync.OnceValue(func() []*corpus {
	return []*corpus{{
		name: "clustered", metric: index.L2, dim: benchDim,
		gallery: indextest.Clustered(1, 50_000, benchDim, 100), queries: indextest.Clustered(2, 1000, benchDim, 100),
	}}
})

var pca struct {
	once    sync.Once
	corpora []*corpus
}

// real returns the 50,000 training images of CIFAR-10 as a gallery and 1,000 test images as a query set: 64 principal
// components of the pixels, half whitened, under both metrics.
func real(tb testing.TB) []*corpus {
	archive := cifartest.Archive(tb)
	pca.once.Do(func() {
		ctx := context.Background()
		read := func(part string, n int) *evaluation.Pixels {
			ds, err := dataset.Open(ctx, archive+":"+part, dataset.Options{})
			if err != nil {
				tb.Fatal(err)
			}
			defer ds.Close()
			pixels := evaluation.NewPixels(n)
			for i := range n {
				s, err := ds.Read(ctx, i)
				if err != nil {
					tb.Fatal(err)
				}
				pixels.Set(i, s.Image)
			}
			return pixels
		}
		gallery, queries := read("train", 50_000), read("test", 1000)
		p, err := evaluation.FitPCA(ctx, gallery, evaluation.PCAOptions{Dim: benchDim, MaxImages: 10_000})
		if err != nil {
			tb.Fatal(err)
		}
		g, q := p.Project(gallery, true, 0), p.Project(queries, true, 0)
		for _, m := range []index.Metric{index.Cosine, index.L2} {
			pca.corpora = append(pca.corpora, &corpus{name: "pca64-" + string(m), metric: m, dim: benchDim, gallery: g, queries: q})
		}
	})
	if len(pca.corpora) == 0 {
		tb.Skip("no embeddings: see what the first test or benchmark that needed them said")
	}
	return pca.corpora
}

func (c *corpus) graph(tb testing.TB, threads int) *hnsw.Graph {
	tb.Helper()
	g, err := hnsw.New(c.metric, c.dim, hnsw.Options{Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	if err := g.Add(indextest.IDs(0, c.len()), c.gallery); err != nil {
		tb.Fatal(err)
	}
	return g
}

// TestRecallOnRealEmbeddings is what the defaults of hnsw promise.
func TestRecallOnRealEmbeddings(t *testing.T) {
	for _, c := range real(t) {
		c.truth(t)
		g := c.graph(t, 0)
		if err := g.Verify(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := c.recall(t, func(q []float32) ([]index.Neighbor, error) { return g.Search(q, 10) })
		t.Logf("%s: recall@10 %.4f, 50,000 training images, 1,000 test images, default options", c.name, got)
		// L2 is at .991, which another processor's rounding may bring below .99.
		if floor := map[index.Metric]float64{index.Cosine: .99, index.L2: .988}[c.metric]; got < floor {
			t.Errorf("%s: recall@10 %.4f, at least %.3f is promised", c.name, got, floor)
		}
	}
}

// engine is an index to measure.
type engine struct {
	name   string
	build  func(tb testing.TB, c *corpus) index.Index
	search []tuning
}

// tuning is a way to search an index.
type tuning struct {
	name string
	do   func(x index.Index, q []float32) ([]index.Neighbor, error)
}

func plain(x index.Index, q []float32) ([]index.Neighbor, error) { return x.Search(q, 10) }

// engines are those that build on this system; bench_coder_test.go adds one.
var engines = []engine{
	{"exact", func(tb testing.TB, c *corpus) index.Index { return c.truth(tb).exact }, []tuning{{"all", plain}}},
	{"hnsw", func(tb testing.TB, c *corpus) index.Index { return c.graph(tb, 1) }, efSearches(20, 40, 80, 120, 160, 200, 320, 640)},
}

func efSearches(efs ...int) (all []tuning) {
	for _, ef := range efs {
		all = append(all, tuning{fmt.Sprintf("ef=%d", ef), func(x index.Index, q []float32) ([]index.Neighbor, error) {
			return x.(*hnsw.Graph).SearchEf(q, 10, ef)
		}})
	}
	return all
}

// BenchmarkSearch measures queries a second of processor time, with the recall beside it, for each engine and setting.
func BenchmarkSearch(b *testing.B) {
	corpora := clustered()
	b.Run("clustered", func(b *testing.B) { benchmarkSearch(b, corpora[0]) })
	for i, name := range []string{"pca64-cosine", "pca64-l2"} {
		b.Run(name, func(b *testing.B) { benchmarkSearch(b, real(b)[i]) })
	}
}

func benchmarkSearch(b *testing.B, c *corpus) {
	c.truth(b)
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			x := e.build(b, c)
			for _, t := range e.search {
				recall := c.recall(b, func(q []float32) ([]index.Neighbor, error) { return t.do(x, q) })
				b.Run(t.name, func(b *testing.B) {
					b.ReportAllocs()
					before := cpuTime()
					for i := range b.N {
						if _, err := t.do(x, c.query(i)); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(recall, "recall@10")
					b.ReportMetric(float64(b.N)/(cpuTime()-before).Seconds(), "queries/CPU-s")
				})
			}
		})
	}
}

// BenchmarkBuild measures how long a graph of 50,000 embeddings takes, with one thread and with two.
func BenchmarkBuild(b *testing.B) {
	for _, name := range []string{"clustered", "pca64-cosine"} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/hnsw/threads=%d", name, threads), func(b *testing.B) {
				c := clustered()[0]
				if name != c.name {
					c = real(b)[0]
				}
				b.ResetTimer()
				before := cpuTime()
				for range b.N {
					c.graph(b, threads)
				}
				b.ReportMetric((cpuTime()-before).Seconds()/float64(b.N), "CPU-s/op")
			})
		}
	}
}

// BenchmarkChange measures Add and Remove of 100 embeddings at a time, in a graph of 50,000.
func BenchmarkChange(b *testing.B) {
	c := clustered()[0]
	g := c.graph(b, 0)
	more := indextest.Clustered(3, 100, c.dim, 100)
	ids := indextest.IDs(c.len(), 100)
	b.Run("add-remove-100", func(b *testing.B) {
		for range b.N {
			if err := g.Add(ids, more); err != nil {
				b.Fatal(err)
			}
			if err := g.Remove(ids...); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Package indextest is the conformance suite that every index.Index passes. [Run] checks what the interface promises:
// answers that are sorted, unique and as many as asked for, its errors, removal, repeatability, many readers at once, a
// floor on ANN recall against exact search, equal embeddings, and random operations beside a plain map. [Clustered] makes
// embeddings to test with.
package indextest

import (
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
)

var seed = flag.Uint64("indextest.seed", 1, "seed of the random operations")

// New makes an empty index.
type New func(metric index.Metric, dim int) (index.Index, error)

// Integrity, where an index has it, is called after every change of the random operations.
type Integrity interface{ Verify() error }

// Replacer is an index that can give held ids other embeddings. The random operations make use of it.
type Replacer interface {
	Replace(ids []dataset.ID, embeddings []float32) error
}

// Run runs the suite. floor is the least ANN recall@10 that the index must reach, a neighbour as close as the true tenth
// counting as found; under the inner product, where the nearest of an embedding may lie anywhere, it is less by .05.
func Run(t *testing.T, make New, floor float64) {
	t.Helper()
	for _, metric := range []index.Metric{index.L2, index.Cosine, index.InnerProduct} {
		t.Run(string(metric), func(t *testing.T) {
			s := suite{make: make, metric: metric, floor: floor}
			if metric == index.InnerProduct {
				s.floor -= innerProductLess
			}
			t.Run("Empty", s.empty)
			t.Run("Errors", s.errors)
			t.Run("Distances", s.distances)
			t.Run("AllOfFew", s.allOfFew)
			t.Run("AddAgain", s.addAgain)
			t.Run("Recall", s.recall)
			t.Run("Repeatable", s.repeatable)
			t.Run("EqualEmbeddings", s.equalEmbeddings)
			t.Run("Readers", s.readers)
			t.Run("RandomOperations", s.randomOperations)
		})
	}
	t.Run("NewRefuses", func(t *testing.T) {
		if _, err := make("manhattan", 4); err == nil {
			t.Error("an unknown metric was accepted")
		}
		if _, err := make(index.L2, 0); err == nil {
			t.Error("dim 0 was accepted")
		}
	})
}

const innerProductLess = 0.05

type suite struct {
	make   New
	metric index.Metric
	floor  float64
}

func (s suite) new(t *testing.T, dim int) index.Index {
	t.Helper()
	x, err := s.make(s.metric, dim)
	if err != nil {
		t.Fatal(err)
	}
	if x.Metric() != s.metric || x.Dim() != dim || x.Len() != 0 {
		t.Fatalf("new index: metric %v, dim %d, len %d", x.Metric(), x.Dim(), x.Len())
	}
	return x
}

// search fails the test unless the answer has the form that the interface promises.
func search(t *testing.T, x index.Index, query []float32, k int) []index.Neighbor {
	t.Helper()
	got, err := x.Search(query, k)
	if err != nil {
		t.Fatalf("search: %v", err)
	}
	if want := min(k, x.Len()); len(got) != want {
		t.Fatalf("%d neighbours for k %d of %d embeddings", len(got), k, x.Len())
	}
	seen := make(map[dataset.ID]bool)
	for i, n := range got {
		if seen[n.ID] {
			t.Fatalf("id %d twice", n.ID)
		}
		seen[n.ID] = true
		if !finite(n.Distance) || n.Distance < -1e-6 && x.Metric() != index.InnerProduct {
			t.Fatalf("id %d at distance %v", n.ID, n.Distance)
		}
		if i > 0 && index.Compare(got[i-1], n) >= 0 {
			t.Fatalf("not sorted: %v before %v", got[i-1], n)
		}
	}
	return got
}

func add(t *testing.T, x index.Index, ids []dataset.ID, embeddings []float32) {
	t.Helper()
	if err := x.Add(ids, embeddings); err != nil {
		t.Fatalf("add: %v", err)
	}
}

func (s suite) empty(t *testing.T) {
	x := s.new(t, 4)
	if got := search(t, x, []float32{1, 0, 0, 0}, 3); len(got) != 0 {
		t.Errorf("an empty index answered %v", got)
	}
	add(t, x, nil, nil)
	if err := x.Remove(); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
	if _, err := x.Search([]float32{1, 0, 0}, 3); !errors.Is(err, index.ErrVector) {
		t.Errorf("a short query of an empty index: error %v", err)
	}
	if _, err := x.Search([]float32{1, 0, 0, 0}, -1); !errors.Is(err, index.ErrK) {
		t.Errorf("k of -1: error %v", err)
	}
	if err := x.Remove(0); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("removing from an empty index: error %v", err)
	}
}

func (s suite) errors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x := s.new(t, 2)
	add(t, x, []dataset.ID{7}, []float32{1, 0})
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"id held", func() error { return x.Add([]dataset.ID{8, 7}, []float32{0, 1, 0, 2}) }, index.ErrExists},
		{"id twice", func() error { return x.Add([]dataset.ID{8, 8}, []float32{0, 1, 0, 2}) }, index.ErrExists},
		{"too short", func() error { return x.Add([]dataset.ID{8}, []float32{1}) }, index.ErrVector},
		{"not a number", func() error { return x.Add([]dataset.ID{8, 9}, []float32{1, 1, nan, 1}) }, index.ErrVector},
		{"too long", func() error { return x.Add([]dataset.ID{8}, []float32{1, 2, 3}) }, index.ErrVector},
		{"out of range", func() error { return x.Add([]dataset.ID{8}, []float32{1e30, 1}) }, index.ErrVector},
		{"infinite", func() error { return x.Add([]dataset.ID{8}, []float32{1, inf}) }, index.ErrVector},
		{"unknown id", func() error { return x.Remove(7, 8) }, index.ErrNotFound},
		{"k of 0", func() error { _, err := x.Search([]float32{1, 0}, 0); return err }, index.ErrK},
		{"long query", func() error { _, err := x.Search([]float32{1, 0, 0}, 1); return err }, index.ErrVector},
		{"query not a number", func() error { _, err := x.Search([]float32{nan, 0}, 1); return err }, index.ErrVector},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
	if s.metric == index.Cosine {
		if err := x.Add([]dataset.ID{8}, []float32{0, 0}); !errors.Is(err, index.ErrVector) {
			t.Errorf("zero embedding: error %v", err)
		}
		if _, err := x.Search([]float32{0, 0}, 1); !errors.Is(err, index.ErrVector) {
			t.Errorf("zero query: error %v", err)
		}
	}
	if got := search(t, x, []float32{1, 0}, 5); x.Len() != 1 || len(got) != 1 || got[0].ID != 7 {
		t.Errorf("after refused changes: len %d, answer %v", x.Len(), got)
	}
}

func (s suite) distances(t *testing.T) {
	x := s.new(t, 2)
	input := []float32{3, 0, 0, 5, -2, 0, 1, 1}
	add(t, x, []dataset.ID{10, 20, 30, 40}, input)
	for i := range input {
		input[i] = 99 // the index has its own copy
	}
	want := map[index.Metric][]index.Neighbor{
		index.L2: {
			{ID: 40, Distance: 1}, {ID: 10, Distance: 2}, {ID: 30, Distance: 3}, {ID: 20, Distance: float32(math.Sqrt(26))},
		},
		index.Cosine: {
			{ID: 10, Distance: 0}, {ID: 40, Distance: float32(1 - math.Sqrt(0.5))}, {ID: 20, Distance: 1}, {ID: 30, Distance: 2},
		},
		index.InnerProduct: {
			{ID: 10, Distance: -2}, {ID: 40, Distance: 0}, {ID: 20, Distance: 1}, {ID: 30, Distance: 3},
		},
	}[s.metric]
	got := search(t, x, []float32{1, 0}, 9)
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i].ID != want[i].ID || math.Abs(float64(got[i].Distance-want[i].Distance)) > 1e-6 {
			t.Errorf("rank %d: got %v, want %v", i+1, got[i], want[i])
		}
	}
}

func (s suite) allOfFew(t *testing.T) {
	x := s.new(t, 8)
	const n = 40
	add(t, x, IDs(100, n), Clustered(3, n, 8, 4))
	if got := search(t, x, Clustered(4, 1, 8, 4), 1000); len(got) != n {
		t.Errorf("k larger than the index gave %d of %d", len(got), n)
	}
}

// addAgain removes everything, twice, and adds other embeddings under the same ids.
func (s suite) addAgain(t *testing.T) {
	x := s.new(t, 4)
	const n = 60
	for round := range uint64(3) {
		embeddings := Clustered(30+round, n, 4, 6)
		add(t, x, IDs(5, n), embeddings)
		for i := range n {
			if s.metric == index.InnerProduct {
				break // the nearest may be another
			}
			if got := search(t, x, embeddings[4*i:4*i+4], 1)[0]; got.ID != dataset.ID(5+i) || got.Distance > 1e-6 {
				t.Fatalf("round %d: asked for embedding %d, got %v", round, 5+i, got)
			}
		}
		if err := x.Remove(IDs(5, n)...); err != nil || x.Len() != 0 {
			t.Fatalf("remove all: %v, len %d", err, x.Len())
		}
		if got := search(t, x, embeddings[:4], 3); len(got) != 0 {
			t.Fatalf("an index that was emptied answered %v", got)
		}
	}
	add(t, x, []dataset.ID{1, 2}, []float32{1, 0, 0, 0, 0, 1, 0, 0})
	if err := x.Remove(1, 1); err != nil || x.Len() != 1 {
		t.Errorf("an id given to Remove twice: %v, len %d", err, x.Len())
	}
}

// recallAt10 is the ANN recall@10 of x against exact search over the same embeddings. A neighbour as close as the true
// tenth counts, so that equal embeddings may stand for each other.
func recallAt10(t *testing.T, x index.Index, truth *exact.Index, queries []float32) float64 {
	t.Helper()
	dim, hits, total := x.Dim(), 0, 0
	for from := 0; from < len(queries); from += dim {
		q := queries[from : from+dim]
		want := search(t, truth, q, 10)
		for _, n := range search(t, x, q, 10) {
			if n.Distance <= want[len(want)-1].Distance+1e-6 {
				hits++
			}
		}
		total += len(want)
	}
	return float64(hits) / float64(total)
}

func (s suite) pair(t *testing.T, ids []dataset.ID, embeddings []float32, dim int) (index.Index, *exact.Index) {
	t.Helper()
	truth, err := exact.New(s.metric, dim)
	if err != nil {
		t.Fatal(err)
	}
	x := s.new(t, dim)
	add(t, truth, ids, embeddings)
	add(t, x, ids, embeddings)
	return x, truth
}

func (s suite) recall(t *testing.T) {
	n, dim := 3000, 32
	if testing.Short() {
		n = 1600
	}
	x, truth := s.pair(t, IDs(0, n), Clustered(5, n, dim, 50), dim)
	if got := recallAt10(t, x, truth, Clustered(6, 100, dim, 50)); got < s.floor {
		t.Errorf("recall@10 %.4f, at least %.4f is asked for", got, s.floor)
	}
	ids := IDs(0, n)
	rand.New(rand.NewPCG(7, 7)).Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for part := range slices.Chunk(ids[:n/3], n/6) {
		for _, each := range []index.Index{x, truth} {
			if err := each.Remove(part...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := recallAt10(t, x, truth, Clustered(6, 100, dim, 50)); got < s.floor {
		t.Errorf("recall@10 %.4f after removing a third", got)
	}
}

func (s suite) repeatable(t *testing.T) {
	build := func() index.Index {
		x := s.new(t, 16)
		add(t, x, IDs(0, 500), Clustered(8, 500, 16, 10))
		add(t, x, IDs(500, 300), Clustered(9, 300, 16, 10))
		return x
	}
	a, b := build(), build()
	queries := Clustered(10, 50, 16, 10)
	for from := 0; from < len(queries); from += 16 {
		q := queries[from : from+16]
		first := search(t, a, q, 10)
		if again := search(t, a, q, 10); !slices.Equal(first, again) {
			t.Fatalf("one index, two answers: %v and %v", first, again)
		}
		if other := search(t, b, q, 10); !slices.Equal(first, other) {
			t.Fatalf("two equal builds, two answers: %v and %v", first, other)
		}
	}
}

// equalEmbeddings makes 3,000 of 20,000 embeddings equal; they must not hide anything, and be found like the others.
func (s suite) equalEmbeddings(t *testing.T) {
	n, dim, equal := 20000, 16, 3000
	if testing.Short() || s.floor < 0.94 {
		n, equal = 2000, 300
	}
	embeddings := Clustered(11, n, dim, 20)
	for i := 1; i < equal; i++ {
		copy(embeddings[i*n/equal*dim:], embeddings[:dim])
	}
	x, truth := s.pair(t, IDs(0, n), embeddings, dim)
	queries := Clustered(12, 100, dim, 20)
	if got := recallAt10(t, x, truth, queries); got < s.floor {
		t.Errorf("recall@10 %.4f with %d equal embeddings", got, equal)
	}
	// Around them there is little else to see for a search that keeps the nearest only.
	for i := range queries {
		queries[i] = embeddings[i%dim] + 0.3*(queries[i]-embeddings[i%dim])
	}
	if got := recallAt10(t, x, truth, queries); got < s.floor {
		t.Errorf("recall@10 %.4f near the equal embeddings", got)
	}
	search(t, x, embeddings[:dim], 50)
	search(t, x, embeddings[:dim], equal+10)
}

func (s suite) readers(t *testing.T) {
	x := s.new(t, 16)
	add(t, x, IDs(0, 1300), Clustered(13, 1300, 16, 10))
	queries := Clustered(14, 200, 16, 10)
	var group sync.WaitGroup
	for reader := range 8 {
		group.Go(func() {
			for from := reader * 16; from < len(queries); from += 8 * 16 {
				if _, err := x.Search(queries[from:from+16], 5); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func (s suite) randomOperations(t *testing.T) {
	t.Logf("replay with -indextest.seed=%d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 99))
	const dim = 6
	x := s.new(t, dim)
	truth, err := exact.New(s.metric, dim)
	if err != nil {
		t.Fatal(err)
	}
	model := make(map[dataset.ID]bool)
	hits, total := 0, 0
	for step := range 150 {
		switch {
		case rng.IntN(3) > 0 || len(model) == 0:
			var ids []dataset.ID
			for range 1 + rng.IntN(30) {
				if id := dataset.ID(rng.IntN(2000)); !model[id] && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
			embeddings := Clustered(rng.Uint64(), len(ids), dim, 5)
			add(t, x, ids, embeddings)
			add(t, truth, ids, embeddings)
			for _, id := range ids {
				model[id] = true
			}
		case rng.IntN(2) == 0:
			r, ok := x.(Replacer)
			if !ok {
				continue
			}
			var ids []dataset.ID
			share := rng.Float64() * rng.Float64()
			for id := range dataset.ID(2000) {
				if model[id] && rng.Float64() < share {
					ids = append(ids, id)
				}
			}
			embeddings := Clustered(rng.Uint64(), len(ids), dim, 5)
			if err := errors.Join(r.Replace(ids, embeddings), truth.Remove(ids...), truth.Add(ids, embeddings)); err != nil {
				t.Fatal(err)
			}
		default:
			var ids []dataset.ID
			share := rng.Float64() * rng.Float64()
			for id := range dataset.ID(2000) {
				if model[id] && rng.Float64() < share {
					ids = append(ids, id)
					delete(model, id)
				}
			}
			if err := errors.Join(x.Remove(ids...), truth.Remove(ids...)); err != nil {
				t.Fatal(err)
			}
		}
		if x.Len() != len(model) {
			t.Fatalf("step %d: len %d, want %d", step, x.Len(), len(model))
		}
		if v, ok := x.(Integrity); ok {
			if err := v.Verify(); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
		q := Clustered(rng.Uint64(), 1, dim, 5)
		got, want := search(t, x, q, 8), search(t, truth, q, 8)
		for _, n := range got {
			if !model[n.ID] {
				t.Fatalf("step %d: id %d is not in the index", step, n.ID)
			}
			if n.Distance <= want[len(want)-1].Distance+1e-6 {
				hits++
			}
		}
		total += len(want)
	}
	if recall := float64(hits) / float64(total); recall < s.floor {
		t.Errorf("recall@8 %.4f over random operations", recall)
	}
}

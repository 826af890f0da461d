package hnsw

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/indextest"
)

// stored is a graph's parts as a store would keep them.
type stored map[Part][]byte

func (s stored) save(g *Graph, changedOnly bool) (written int) {
	for part, b := range g.Parts(changedOnly) {
		s[part] = bytes.Clone(b)
		written++
	}
	g.Saved()
	return written
}

var errMissing = errors.New("part missing")

func (s stored) read(p Part) ([]byte, error) {
	b, ok := s[p]
	if !ok {
		return nil, errMissing
	}
	return b, nil
}

func build(t testing.TB, metric index.Metric, n, dim, threads int) *Graph {
	t.Helper()
	g, err := New(metric, dim, Options{Threads: threads, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Add(indextest.IDs(0, n), indextest.Clustered(21, n, dim, 30)); err != nil {
		t.Fatal(err)
	}
	return g
}

func mustSearch(t testing.TB, g *Graph, q []float32, k int) []index.Neighbor {
	t.Helper()
	got, err := g.Search(q, k)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestThreadsDoNotMatter(t *testing.T) {
	one, three := stored{}, stored{}
	one.save(build(t, index.L2, 3000, 12, 1), false)
	three.save(build(t, index.L2, 3000, 12, 3), false)
	if len(one) != len(three) {
		t.Fatalf("%d parts and %d", len(one), len(three))
	}
	for part, b := range one {
		if !bytes.Equal(b, three[part]) {
			t.Errorf("part %v differs between 1 and 3 threads", part)
		}
	}
}

func TestPartsRoundTrip(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		g := build(t, metric, 2500, 12, 2)
		if err := g.Remove(3, 1024, 2499); err != nil {
			t.Fatal(err)
		}
		file := stored{}
		file.save(g, false)
		loaded, err := Load(file.read)
		if err != nil {
			t.Fatal(err)
		}
		if err := loaded.Verify(); err != nil {
			t.Fatal(err)
		}
		if loaded.Len() != g.Len() || loaded.Metric() != metric || loaded.Options().Seed != 5 || !loaded.SlotIsID() {
			t.Errorf("loaded: len %d, metric %v, options %+v", loaded.Len(), loaded.Metric(), loaded.Options())
		}
		for i := range 40 {
			q := indextest.Clustered(uint64(100+i), 1, 12, 30)
			if a, b := mustSearch(t, g, q, 10), mustSearch(t, loaded, q, 10); !slices.Equal(a, b) {
				t.Fatalf("before saving %v, after loading %v", a, b)
			}
		}
	}
}

func TestChangedPartsAreEnough(t *testing.T) {
	g := build(t, index.L2, 6000, 8, 2)
	file := stored{}
	all := file.save(g, false)
	if n := file.save(g, true); n != 1 {
		t.Errorf("an unchanged graph wrote %d parts, 1 (the header) is enough", n)
	}
	loaded, err := Load(file.read)
	if err != nil {
		t.Fatal(err)
	}
	before := file.clone()
	if err := loaded.Add(indextest.IDs(6000, 20), indextest.Clustered(22, 20, 8, 30)); err != nil {
		t.Fatal(err)
	}
	if err := loaded.Remove(17); err != nil {
		t.Fatal(err)
	}
	for part, b := range before {
		if !bytes.Equal(b, file[part]) {
			t.Fatalf("changing a loaded graph wrote into part %v", part)
		}
	}
	if n := file.save(loaded, true); n >= all {
		t.Errorf("20 more nodes of 6,000 rewrote %d of %d parts", n, all)
	}
	again, err := Load(file.read)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Verify(); err != nil {
		t.Fatal(err)
	}
	q := indextest.Clustered(23, 1, 8, 30)
	if a, b := mustSearch(t, loaded, q, 10), mustSearch(t, again, q, 10); !slices.Equal(a, b) {
		t.Errorf("before saving %v, after %v", a, b)
	}
}

func (s stored) clone() stored {
	c := stored{}
	for part, b := range s {
		c[part] = bytes.Clone(b)
	}
	return c
}

func TestSkipKeepsSlotsEqualToIDs(t *testing.T) {
	g := build(t, index.L2, 100, 4, 1)
	if err := g.Skip(50); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(indextest.IDs(150, 10), indextest.Clustered(24, 10, 4, 3)); err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	if !g.SlotIsID() || g.Slots() != 160 || g.Len() != 110 {
		t.Errorf("slots %d, len %d, slot is id: %v", g.Slots(), g.Len(), g.SlotIsID())
	}
	if err := g.Remove(indextest.IDs(0, 90)...); err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil || !g.SlotIsID() || g.Len() != 20 {
		t.Errorf("after removing most: %v, len %d, slot is id: %v", err, g.Len(), g.SlotIsID())
	}
}

// TestDamageNeverPanics flips bytes of stored parts: loading and searching give errors or answers, and they end.
func TestDamageNeverPanics(t *testing.T) {
	file := stored{}
	file.save(build(t, index.L2, 1500, 6, 1), false)
	parts := slices.SortedFunc(func(yield func(Part) bool) {
		for p := range file {
			if !yield(p) {
				return
			}
		}
	}, func(a, b Part) int {
		return bytes.Compare([]byte(string(a.Kind)+string(rune(a.Number))), []byte(string(b.Kind)+string(rune(b.Number))))
	})
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 4))
		damaged := file.clone()
		for range 1 + rng.IntN(20) {
			b := damaged[parts[rng.IntN(len(parts))]]
			b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
		}
		g, err := Load(damaged.read)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			continue
		}
		verified := g.Verify()
		got, err := g.Search(indextest.Clustered(seed, 1, g.Dim(), 30), 10)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(got) > 10 {
			t.Fatalf("seed %d: %d neighbours", seed, len(got))
		}
		// A graph that is damaged is left as it is; one that is not can be changed.
		for _, err := range []error{g.Add([]dataset.ID{1 << 40}, make([]float32, g.Dim())), g.Remove(3)} {
			if verified != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, index.ErrVector) {
				t.Fatalf("seed %d: a damaged graph was changed: %v", seed, err)
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	file := stored{}
	file.save(build(f, index.Cosine, 40, 2, 1), false)
	f.Add(file[Part{HeaderPart, 0}], file[Part{NodePart, 0}], []byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, header, nodes, links []byte) {
		damaged := file.clone()
		damaged[Part{HeaderPart, 0}], damaged[Part{NodePart, 0}] = header, nodes
		copy(damaged[Part{LinkPart, 0}], links)
		g, err := Load(damaged.read)
		if err != nil {
			return
		}
		verified := g.Verify()
		_, _ = g.Search([]float32{1, 2}, 3)
		if err := g.Add([]dataset.ID{99, 1 << 40}, []float32{1, 2, 3, 4}); err == nil {
			err = g.Remove(99)
			if err == nil {
				err = g.Verify()
			}
			if verified != nil || err != nil {
				t.Fatalf("Add to a graph with %v left %v", verified, err)
			}
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{M: 1}, {M: 200}, {EfConstruction: 3}, {EfSearch: -1}, {Threads: -2}} {
		if _, err := New(index.L2, 4, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestEfRaisesRecall(t *testing.T) {
	const n, dim = 3000, 32
	g := build(t, index.L2, n, dim, 2)
	hits := func(ef int) (sum int) {
		for i := range 60 {
			q := indextest.Clustered(uint64(500+i), 1, dim, 30)
			truth := mustTruth(t, g, q)
			got, err := g.SearchEf(q, 10, ef)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range got {
				if slices.Contains(truth, n.ID) {
					sum++
				}
			}
		}
		return sum
	}
	low, high := hits(10), hits(200)
	if low >= high || float64(high) < .99*600 {
		t.Errorf("of 600 true neighbours ef 10 found %d, ef 200 %d", low, high)
	}
}

// mustTruth returns the true ten nearest, by asking for everything.
func mustTruth(t testing.TB, g *Graph, q []float32) []dataset.ID {
	t.Helper()
	nearest := index.NewNearest(10)
	for slot, id := range g.ids {
		d := float32(0)
		for i, v := range g.vector(uint32(slot)) {
			d += (v - q[i]) * (v - q[i])
		}
		nearest.Offer(index.Neighbor{ID: id, Distance: d})
	}
	var ids []dataset.ID
	for _, n := range nearest.Sorted() {
		ids = append(ids, n.ID)
	}
	return ids
}

// BenchmarkLoad measures what a fresh process waits for, with 60,000 embeddings: loading, the first search, and the
// verification before the first change.
func BenchmarkLoad(b *testing.B) {
	const n, dim = 60_000, 64
	g, err := New(index.Cosine, dim, Options{EfConstruction: 16})
	if err != nil {
		b.Fatal(err)
	}
	if err := g.Add(indextest.IDs(0, n), indextest.Clustered(21, n, dim, 100)); err != nil {
		b.Fatal(err)
	}
	file := stored{}
	file.save(g, false)
	q := indextest.Clustered(22, 1, dim, 100)
	b.Run("search", func(b *testing.B) {
		for range b.N {
			loaded, err := Load(file.read)
			if err != nil {
				b.Fatal(err)
			}
			mustSearch(b, loaded, q, 10)
		}
	})
	b.Run("verify", func(b *testing.B) {
		for range b.N {
			if err := g.Verify(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

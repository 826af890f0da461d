package hnsw

import (
	"errors"
	"math/rand/v2"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/indextest"
)

func TestMeasureEf(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.InnerProduct} {
		const n, dim = 4000, 32
		g, err := New(metric, dim, Options{EfConstruction: 60})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Add(indextest.IDs(0, n), spread(3, n, dim)); err != nil {
			t.Fatal(err)
		}
		low, err1 := g.MeasureEf(.9, 10, 200, 1)
		high, err2 := g.MeasureEf(.99, 10, 200, 1)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		t.Logf("%s: %+v, %+v", metric, low, high)
		if low.Recall < .9 || high.Recall < .99 || low.Ef >= high.Ef || low.Ef < 10 {
			t.Errorf("%s: %+v, %+v", metric, low, high)
		}
		if again, _ := g.MeasureEf(.9, 10, 200, 1); again != low {
			t.Errorf("%+v, again %+v", low, again)
		}
	}
	g := build(t, index.L2, 5, 4, 1)
	if m, err := g.MeasureEf(.9, 10, 0, 1); err != nil || m.Recall != 1 {
		t.Errorf("five embeddings: %+v, %v", m, err)
	}
	for _, target := range []float64{0, -1, 1.01} {
		if _, err := g.MeasureEf(target, 10, 0, 1); err == nil {
			t.Errorf("target %v was accepted", target)
		}
	}
	if _, err := g.MeasureEf(.9, 0, 0, 1); !errors.Is(err, index.ErrK) {
		t.Errorf("k of 0: %v", err)
	}
	if g.SetEfSearch(0) == nil || g.SetEfSearch(33) != nil || g.Options().EfSearch != 33 {
		t.Errorf("efSearch %d", g.Options().EfSearch)
	}
}

// TestMeasureScan: where few are compared in no time, that is what serves, and so it is after loading.
func TestMeasureScan(t *testing.T) {
	g := build(t, index.L2, 600, 12, 1)
	if err := g.MeasureScan(); err != nil {
		t.Fatal(err)
	}
	if g.scanAt != 600 || !(g.scanRows > 0) {
		t.Fatalf("%v at %d", g.scanRows, g.scanAt)
	}
	file := stored{}
	file.save(g, false)
	loaded, err := Load(file.read)
	if err != nil || loaded.scanRows != g.scanRows || loaded.scanAt != g.scanAt {
		t.Fatalf("loaded %v at %d, %v", loaded.scanRows, loaded.scanAt, err)
	}
	before := g.scanRows
	if err := g.MeasureScan(); err != nil || g.scanRows != before {
		t.Errorf("measured again: %v", err)
	}
	if g.scanRows = 1000; !g.scanPays(10) || g.scanPays(0) {
		t.Error("scanPays")
	}
}

// TestReplaceKeepsRecall replaces everything, in rounds, by embeddings from elsewhere.
func TestReplaceKeepsRecall(t *testing.T) {
	n, dim := 4000, 32
	if testing.Short() {
		n = 1500
	}
	g, err := New(index.L2, dim, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Add(indextest.IDs(0, n), spread(31, n, dim)); err != nil {
		t.Fatal(err)
	}
	ids := indextest.IDs(0, n)
	rand.New(rand.NewPCG(2, 2)).Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	latest := make(map[dataset.ID][]float32)
	for round := range 8 {
		part := ids[round*n/8 : (round+1)*n/8]
		embeddings := spread(uint64(40+round), len(part), dim)
		if err := g.Replace(part, embeddings); err != nil {
			t.Fatal(err)
		}
		for i, id := range part {
			latest[id] = embeddings[i*dim : (i+1)*dim]
		}
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
	}
	fresh, err1 := New(index.L2, dim, Options{})
	truth, err2 := exact.New(index.L2, dim)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	var all []float32
	for id := range n {
		all = append(all, latest[dataset.ID(id)]...)
	}
	if err := errors.Join(fresh.Add(indextest.IDs(0, n), all), truth.Add(indextest.IDs(0, n), all)); err != nil {
		t.Fatal(err)
	}
	queries := spread(99, 500, dim)
	answers, err := truth.SearchAll(queries, 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, ef := range []int{20, 40, 80, 160} {
		changed, whole := recall(t, g, answers, queries, ef), recall(t, fresh, answers, queries, ef)
		t.Logf("efSearch %d: recall@10 %.4f after replacing all, %.4f of a fresh graph", ef, changed, whole)
		if changed < whole-.005 {
			t.Errorf("efSearch %d: recall@10 %.4f after replacing all, %.4f of a fresh graph", ef, changed, whole)
		}
	}
}

func TestReplaceRefuses(t *testing.T) {
	g := build(t, index.L2, 50, 4, 1)
	for name, c := range map[string]struct {
		err, want error
	}{
		"not held": {g.Replace([]dataset.ID{3, 900}, make([]float32, 8)), index.ErrNotFound},
		"twice":    {g.Replace([]dataset.ID{3, 3}, make([]float32, 8)), index.ErrExists},
		"short":    {g.Replace([]dataset.ID{3, 4}, make([]float32, 7)), index.ErrVector},
		"too long": {g.Replace([]dataset.ID{3}, []float32{1e30, 0, 0, 0}), index.ErrVector},
		"nothing":  {g.Replace(nil, nil), nil},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if err := g.Verify(); err != nil || g.Len() != 50 {
		t.Error(err)
	}
	for id := range dataset.ID(50) { // one after the other, with the root among them
		if err := g.Replace([]dataset.ID{id}, []float32{float32(id), 1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		if err := g.Verify(); err != nil {
			t.Fatal(err)
		}
	}
	one := build(t, index.L2, 1, 4, 1)
	if err := errors.Join(one.Replace([]dataset.ID{0}, []float32{1, 2, 3, 4}), one.Verify()); err != nil {
		t.Error(err)
	}
}

package main

import (
	"fmt"
	"runtime"
	"time"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/hnsw"
	"imgsearch/internal/usage"
)

// neighbors is how many are asked for.
const neighbors = 10

// built is what a build took.
type built struct {
	Processor float64 `json:"processor_seconds"`
	Seconds   float64 `json:"seconds"`
	Bytes     int64   `json:"bytes"` // of memory, the vectors included where the engine has its own
}

// engine is an index that is measured.
type engine interface {
	build(m, efConstruction, threads int) (built, error)
	// search asks all queries and returns the processor time that this took, in seconds.
	search(ef int) (float64, error)
	// answers are the numbers of the vectors found, [queries, neighbors], -1 where there are too few.
	answers(ef int) ([]int64, error)
}

// ours is an engine of this program.
type ours struct {
	v      *vectors
	create func(m, efConstruction, threads int) (index.Index, error)
	find   func(x index.Index, query []float32, ef int) ([]index.Neighbor, error)
	index  index.Index
}

func newGraph(m, efConstruction, threads int) (index.Index, error) {
	return hnsw.New(index.L2, embeddingDim, hnsw.Options{M: m, EfConstruction: efConstruction, Threads: threads})
}

func searchGraph(x index.Index, query []float32, ef int) ([]index.Neighbor, error) {
	return x.(*hnsw.Graph).SearchEf(query, neighbors, ef)
}

func newExact(int, int, int) (index.Index, error) { return exact.New(index.L2, embeddingDim) }

func searchExact(x index.Index, query []float32, _ int) ([]index.Neighbor, error) {
	return x.Search(query, neighbors)
}

func (e *ours) build(m, efConstruction, threads int) (built, error) {
	e.index = nil
	before := liveHeap()
	begun, spent := time.Now(), usage.SpentTime()
	x, err := e.create(m, efConstruction, threads)
	if err != nil {
		return built{}, err
	}
	ids := make([]dataset.ID, e.v.len())
	for i := range ids {
		ids[i] = dataset.ID(i)
	}
	if err := x.Add(ids, e.v.gallery); err != nil {
		return built{}, err
	}
	b := built{Processor: (usage.SpentTime() - spent).Seconds(), Seconds: time.Since(begun).Seconds()}
	e.index = x
	b.Bytes = liveHeap() - before
	return b, nil
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (e *ours) search(ef int) (float64, error) {
	begun := usage.SpentTime()
	for from := 0; from < len(e.v.queries); from += embeddingDim {
		if _, err := e.find(e.index, e.v.queries[from:from+embeddingDim], ef); err != nil {
			return 0, err
		}
	}
	return (usage.SpentTime() - begun).Seconds(), nil
}

func (e *ours) answers(ef int) ([]int64, error) {
	var out []int64
	for from := 0; from < len(e.v.queries); from += embeddingDim {
		found, err := e.find(e.index, e.v.queries[from:from+embeddingDim], ef)
		if err != nil {
			return nil, err
		}
		for i := range neighbors {
			if i < len(found) {
				out = append(out, int64(found[i].ID))
			} else {
				out = append(out, -1)
			}
		}
	}
	return out, nil
}

// truth tells recalls.
type truth struct {
	v     *vectors
	bound []float64 // of each query: the squared distance of its tenth neighbour
}

func newTruth(v *vectors, threads int) (*truth, error) {
	x, err := exact.New(index.L2, embeddingDim)
	if err != nil {
		return nil, err
	}
	ids := make([]dataset.ID, v.len())
	for i := range ids {
		ids[i] = dataset.ID(i)
	}
	if err := x.Add(ids, v.gallery); err != nil {
		return nil, err
	}
	answers, err := x.SearchAll(v.queries, neighbors, threads)
	if err != nil {
		return nil, err
	}
	t := &truth{v: v}
	for i, a := range answers {
		if len(a) < neighbors {
			return nil, fmt.Errorf("%w: fewer than %d vectors", errUsage, neighbors)
		}
		t.bound = append(t.bound, t.squared(i, int64(a[neighbors-1].ID)))
	}
	return t, nil
}

// squared is the squared distance of a query and a vector.
func (t *truth) squared(query int, vector int64) float64 {
	q, v := t.v.queries[query*embeddingDim:][:embeddingDim], t.v.gallery[int(vector)*embeddingDim:][:embeddingDim]
	sum := 0.0
	for i := range q {
		d := float64(q[i]) - float64(v[i])
		sum += d * d
	}
	return sum
}

// recall is the ANN recall of answers, each vector counting once.
func (t *truth) recall(answers []int64) (float64, error) {
	hits := 0
	for i, bound := range t.bound {
		seen := map[int64]bool{-1: true}
		for _, vector := range answers[i*neighbors : (i+1)*neighbors] {
			if vector < -1 || vector >= int64(t.v.len()) {
				return 0, fmt.Errorf("query %d: answer %d is no vector", i, vector)
			}
			if !seen[vector] && t.squared(i, vector) <= bound*(1+1e-7) {
				hits++
			}
			seen[vector] = true
		}
	}
	return float64(hits) / float64(neighbors*len(t.bound)), nil
}

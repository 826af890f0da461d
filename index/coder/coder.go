//go:build !windows

package coder

import (
	"fmt"
	"math/rand"

	"github.com/coder/hnsw"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
)

// Options are the parameters of the library's graph.
type Options struct {
	// M is the most links a node has. Default 32, 2 to 128; below 32 the library's search loses its way.
	M int
	// Fetch is the number of candidates that are asked for, or 20 k where that is more. Default 1,000, 1 to 100,000.
	// Recall and the time of a query rise with it.
	Fetch int
	// Seed decides the levels of the nodes. Default 0.
	Seed int64
}

// Index implements index.Index.
type Index struct {
	all     *exact.Index
	options Options
	graph   *hnsw.Graph[dataset.ID] // nil until there are more than Fetch embeddings
}

var _ index.Index = (*Index)(nil)

// New returns an empty index. An unknown metric, a dim outside 1 to 65,536 or an option out of range is an error.
func New(metric index.Metric, dim int, options Options) (*Index, error) {
	if options.M == 0 {
		options.M = 32
	}
	if options.Fetch == 0 {
		options.Fetch = 1000
	}
	if options.M < 2 || options.M > 128 {
		return nil, fmt.Errorf("coder index: M %d: must be 2 to 128", options.M)
	}
	if options.Fetch < 1 || options.Fetch > 100_000 {
		return nil, fmt.Errorf("coder index: fetch %d: must be 1 to 100000", options.Fetch)
	}
	all, err := exact.New(metric, dim)
	if err != nil {
		return nil, fmt.Errorf("coder index: %w", err)
	}
	return &Index{all: all, options: options}, nil
}

// Metric is the distance that Search measures.
func (x *Index) Metric() index.Metric { return x.all.Metric() }

// Dim is the length of every embedding.
func (x *Index) Dim() int { return x.all.Dim() }

// Len is the number of embeddings.
func (x *Index) Len() int { return x.all.Len() }

// Add implements index.Index.
func (x *Index) Add(ids []dataset.ID, embeddings []float32) error {
	if err := x.all.Add(ids, embeddings); err != nil {
		return err
	}
	if x.graph == nil {
		return x.build()
	}
	nodes := make([]hnsw.Node[dataset.ID], len(ids))
	for i, id := range ids {
		v, err := index.Prepare(x.Metric(), x.Dim(), embeddings[i*x.Dim():(i+1)*x.Dim()])
		if err != nil {
			return err
		}
		nodes[i] = hnsw.MakeNode(id, v)
	}
	return x.append(nodes)
}

// Remove implements index.Index. It makes the library's graph anew, which takes as long as adding everything.
func (x *Index) Remove(ids ...dataset.ID) error {
	if err := x.all.Remove(ids...); err != nil || len(ids) == 0 {
		return err
	}
	return x.build()
}

// build makes the library's graph of all embeddings, or none where there are few.
func (x *Index) build() error {
	x.graph = nil
	if x.Len() <= x.options.Fetch {
		return nil
	}
	x.graph = &hnsw.Graph[dataset.ID]{
		M: x.options.M, Ml: 0.25, EfSearch: max(20, x.options.Fetch/4), Distance: hnsw.EuclideanDistance,
		Rng: rand.New(rand.NewSource(x.options.Seed)),
	}
	nodes := make([]hnsw.Node[dataset.ID], 0, x.Len())
	for id, v := range x.all.Embeddings() {
		nodes = append(nodes, hnsw.MakeNode(id, append([]float32(nil), v...)))
	}
	return x.append(nodes)
}

// append adds nodes to the library's graph; a panic of the library drops the graph and becomes an error.
func (x *Index) append(nodes []hnsw.Node[dataset.ID]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			x.graph = nil
			err = fmt.Errorf("coder/hnsw: add %d embeddings: %v", len(nodes), p)
		}
	}()
	x.graph.Add(nodes...)
	return nil
}

// Search implements index.Index.
func (x *Index) Search(query []float32, k int) (neighbors []index.Neighbor, err error) {
	fetch := max(x.options.Fetch, 20*min(k, x.Len()))
	if k < 1 || x.graph == nil || fetch >= x.Len() {
		return x.all.Search(query, k)
	}
	q, err := index.Prepare(x.Metric(), x.Dim(), query)
	if err != nil {
		return nil, err
	}
	ids, err := x.candidates(q, fetch)
	if err != nil {
		return nil, err
	}
	return x.all.SearchAmong(q, ids, k)
}

func (x *Index) candidates(q []float32, fetch int) (ids []dataset.ID, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("coder/hnsw: search: %v", p)
		}
	}()
	for _, node := range x.graph.Search(q, fetch) {
		ids = append(ids, node.Key)
	}
	return ids, nil
}

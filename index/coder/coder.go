//go:build !windows

package coder

import (
	"encoding/binary"
	"fmt"
	"math"
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
	graph   *hnsw.Graph[dataset.ID]     // nil until there are more than Fetch embeddings
	nodes   map[string]dataset.ID       // the bytes of each embedding in graph -> its key there
	equal   map[dataset.ID][]dataset.ID // of each key: the ids of the embeddings that equal it
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
		x.build()
		return nil
	}
	for i, id := range ids {
		v, err := index.Prepare(x.Metric(), x.Dim(), embeddings[i*x.Dim():(i+1)*x.Dim()])
		if err != nil {
			return err
		}
		if !x.insert(id, v) {
			return nil
		}
	}
	return nil
}

// Remove implements index.Index. It makes the library's graph anew, which takes as long as adding everything.
func (x *Index) Remove(ids ...dataset.ID) error {
	if err := x.all.Remove(ids...); err != nil || len(ids) == 0 {
		return err
	}
	x.build()
	return nil
}

// build makes the library's graph of all embeddings, or none where there are few.
func (x *Index) build() {
	x.graph = nil
	if x.Len() <= x.options.Fetch || x.Metric() == index.InnerProduct {
		return // the library has no such distance
	}
	x.graph = &hnsw.Graph[dataset.ID]{
		M: x.options.M, Ml: 0.25, EfSearch: max(20, x.options.Fetch/4), Distance: hnsw.EuclideanDistance,
		Rng: rand.New(rand.NewSource(x.options.Seed)),
	}
	x.nodes, x.equal = make(map[string]dataset.ID, x.Len()), make(map[dataset.ID][]dataset.ID)
	for id, v := range x.all.Embeddings() {
		if !x.insert(id, append([]float32(nil), v...)) {
			return
		}
	}
}

// insert adds an embedding, which it keeps, to the library's graph. Where the library panics, ok is false and its graph
// is dropped: everything is compared until the next change makes another.
func (x *Index) insert(id dataset.ID, embedding []float32) (ok bool) {
	bits := make([]byte, 0, 4*len(embedding))
	for _, v := range embedding {
		bits = binary.LittleEndian.AppendUint32(bits, math.Float32bits(v))
	}
	if node, ok := x.nodes[string(bits)]; ok {
		x.equal[node] = append(x.equal[node], id)
		return true
	}
	defer func() {
		if recover() != nil {
			x.graph, ok = nil, false
		}
	}()
	x.graph.Add(hnsw.MakeNode(id, embedding))
	x.nodes[string(bits)] = id
	return true
}

// Search implements index.Index.
func (x *Index) Search(query []float32, k int) ([]index.Neighbor, error) {
	fetch := max(x.options.Fetch, 20*min(k, x.Len()))
	if k < 1 || x.graph == nil || fetch >= x.Len() {
		return x.all.Search(query, k)
	}
	q, err := index.Prepare(x.Metric(), x.Dim(), query)
	if err != nil {
		return nil, err
	}
	ids := x.candidates(q, fetch)
	if len(ids) < k {
		return x.all.Search(query, k)
	}
	return x.all.SearchAmong(q, ids, k)
}

// candidates asks the library for the given number of embeddings. Where it panics there are none.
func (x *Index) candidates(q []float32, fetch int) (ids []dataset.ID) {
	defer func() {
		if recover() != nil {
			ids = nil
		}
	}()
	for _, node := range x.graph.Search(q, fetch) {
		ids = append(append(ids, node.Key), x.equal[node.Key]...)
	}
	return ids
}

// Package exact answers searches by comparing the query with every embedding.
//
// It is right by construction, which makes it the oracle of tests and of every measured recall, and it is the faster
// choice for small collections. [Index] implements index.Index; see there for what may be called at once.
package exact

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Index holds embeddings in one block of memory, [Len, Dim] float32.
type Index struct {
	metric     index.Metric
	dim        int
	ids        []dataset.ID
	embeddings []float32
	position   map[dataset.ID]int
}

var _ index.Index = (*Index)(nil)

// New returns an empty index. An unknown metric or a dim outside 1 to 65,536 is an error.
func New(metric index.Metric, dim int) (*Index, error) {
	if err := index.CheckNew(metric, dim); err != nil {
		return nil, fmt.Errorf("exact index: %w", err)
	}
	return &Index{metric: metric, dim: dim, position: make(map[dataset.ID]int)}, nil
}

// Metric is the distance that Search measures.
func (x *Index) Metric() index.Metric { return x.metric }

// Dim is the length of every embedding.
func (x *Index) Dim() int { return x.dim }

// Len is the number of embeddings.
func (x *Index) Len() int { return len(x.ids) }

// Add implements index.Index.
func (x *Index) Add(ids []dataset.ID, embeddings []float32) error {
	held := func(id dataset.ID) bool { _, ok := x.position[id]; return ok }
	if err := index.CheckAdd(ids, embeddings, x.dim, held); err != nil {
		return err
	}
	old := len(x.embeddings)
	x.embeddings = slices.Grow(x.embeddings, len(embeddings))[:old+len(embeddings)]
	for i, id := range ids {
		from, to := i*x.dim, (i+1)*x.dim
		if err := index.PrepareTo(x.embeddings[old+from:old+to], x.metric, embeddings[from:to]); err != nil {
			x.embeddings = x.embeddings[:old]
			return fmt.Errorf("image %d: %w", id, err)
		}
	}
	for _, id := range ids {
		x.position[id] = len(x.ids)
		x.ids = append(x.ids, id)
	}
	return nil
}

// Remove implements index.Index.
func (x *Index) Remove(ids ...dataset.ID) error {
	for _, id := range ids {
		if _, ok := x.position[id]; !ok {
			return fmt.Errorf("%w: %d", index.ErrNotFound, id)
		}
	}
	for _, id := range ids {
		at, ok := x.position[id]
		if !ok {
			continue // given twice
		}
		last := len(x.ids) - 1
		x.ids[at] = x.ids[last]
		copy(x.row(at), x.row(last))
		x.position[x.ids[at]] = at
		delete(x.position, id)
		x.ids, x.embeddings = x.ids[:last], x.embeddings[:last*x.dim]
	}
	return nil
}

func (x *Index) row(i int) []float32 { return x.embeddings[i*x.dim : (i+1)*x.dim] }

// block is the number of embeddings whose distances are computed at a time.
const block = 1024

// Search implements index.Index.
func (x *Index) Search(query []float32, k int) ([]index.Neighbor, error) {
	if k < 1 {
		return nil, fmt.Errorf("%w: %d", index.ErrK, k)
	}
	q, err := index.Prepare(x.metric, x.dim, query)
	if err != nil {
		return nil, err
	}
	nearest := index.NewNearest(min(k, max(1, len(x.ids))))
	var distances [block]float32
	bound := float32(math.Inf(1))
	for from := 0; from < len(x.ids); from += block {
		to := min(from+block, len(x.ids))
		x.measure(q, x.embeddings[from*x.dim:to*x.dim], distances[:to-from])
		for i, d := range distances[:to-from] {
			if d <= bound {
				nearest.Offer(index.Neighbor{ID: x.ids[from+i], Distance: d})
				if farthest, full := nearest.Bound(); full {
					bound = farthest
				}
			}
		}
	}
	return index.Measure(x.metric, nearest.Sorted()), nil
}

// measure writes the distances of rows that index.Measure takes.
func (x *Index) measure(q, rows, distances []float32) {
	if x.metric != index.InnerProduct {
		kernel.SquaredL2Rows(q, rows, distances)
		return
	}
	kernel.DotRows(q, rows, distances)
	for i, dot := range distances {
		distances[i] = 1 - dot
	}
}

// SearchAll is Search for each of the queries, [len(queries)/Dim, Dim] float32, on the given number of threads (0: all
// cores). The error is that of the first query that has one.
func (x *Index) SearchAll(queries []float32, k, threads int) ([][]index.Neighbor, error) {
	if len(queries)%x.dim != 0 {
		return nil, fmt.Errorf("%w: %d values for queries of dim %d", index.ErrVector, len(queries), x.dim)
	}
	answers := make([][]index.Neighbor, len(queries)/x.dim)
	errs := make([]error, len(answers))
	kernel.Parallel(threads, len(answers), func(i int) {
		answers[i], errs[i] = x.Search(queries[i*x.dim:(i+1)*x.dim], k)
	})
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("query %d: %w", i, err)
		}
	}
	return answers, nil
}

// SearchAmong is Search over some of the embeddings only. Ids that the index does not hold are left out, and each id
// counts once.
func (x *Index) SearchAmong(query []float32, ids []dataset.ID, k int) ([]index.Neighbor, error) {
	if k < 1 {
		return nil, fmt.Errorf("%w: %d", index.ErrK, k)
	}
	q, err := index.Prepare(x.metric, x.dim, query)
	if err != nil {
		return nil, err
	}
	nearest := index.NewNearest(k)
	var distance [1]float32
	seen := make(map[dataset.ID]bool, len(ids))
	for _, id := range ids {
		at, ok := x.position[id]
		if !ok || seen[id] {
			continue
		}
		seen[id] = true
		x.measure(q, x.row(at), distance[:])
		nearest.Offer(index.Neighbor{ID: id, Distance: distance[0]})
	}
	return index.Measure(x.metric, nearest.Sorted()), nil
}

// Embeddings yields what the index holds, in no particular order. The slices are the index's own: they must not be
// changed, and are valid until it changes.
func (x *Index) Embeddings() iter.Seq2[dataset.ID, []float32] {
	return func(yield func(dataset.ID, []float32) bool) {
		for i, id := range x.ids {
			if !yield(id, x.row(i)) {
				return
			}
		}
	}
}

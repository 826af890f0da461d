package index

import "imgsearch/dataset"

// Metric names how the distance between two embeddings is measured. Smaller is closer.
type Metric string

const (
	// L2 is the Euclidean distance, its root taken.
	L2 Metric = "l2"
	// Cosine is 1 - cos(a, b), in [0, 2].
	Cosine Metric = "cosine"
	// InnerProduct is 1 - <a, b>, which may be negative; nothing need be nearest to itself.
	InnerProduct Metric = "ip"
)

// Neighbor is one answer of a search.
type Neighbor struct {
	ID dataset.ID
	// Distance is measured by the index's Metric.
	Distance float32
}

// Index finds the nearest of the embeddings that it holds. Exact indexes find the true nearest; approximate ones miss
// some, and say what decides how many.
//
// Search may be called from several goroutines at once while nothing is added or removed; Add and Remove need exclusive
// access, but for hnsw's graph, which is searched while it changes. An error leaves the index as it was.
type Index interface {
	// Metric is the distance that Search measures.
	Metric() Metric
	// Dim is the length of every embedding.
	Dim() int
	// Len is the number of embeddings.
	Len() int
	// Add inserts embeddings, [len(ids), Dim()] float32 row-major; they are copied. An id that is held already or given
	// twice (ErrExists) and an embedding that cannot be used (ErrVector) are refused before anything is inserted. An id
	// that was removed may be added again.
	Add(ids []dataset.ID, embeddings []float32) error
	// Remove takes embeddings out; an id that is given twice counts once. An unknown id is ErrNotFound, and nothing is
	// removed then.
	Remove(ids ...dataset.ID) error
	// Search returns the k nearest, all where there are fewer, by rising distance, equal distances by rising id, each id
	// once. The query, [Dim()] float32, is not changed; one that cannot be used is ErrVector, k < 1 is ErrK.
	Search(query []float32, k int) ([]Neighbor, error)
}

package search

import (
	"math"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
	"imgsearch/store"
)

// scanShare is the number of chunks that are worth a thread.
const scanShare = 64

// scan compares the query with every image.
func (c *Collection) scan(v *store.View, l *loaded, query []float32, k int) ([]index.Neighbor, error) {
	q, err := index.Prepare(c.metric, c.dim, query)
	if err != nil {
		return nil, err
	}
	threads := min(kernel.Threads(0), 1+len(l.chunks)/scanShare)
	parts := make([]*index.Nearest, threads)
	errs := make([]error, threads)
	kernel.ParallelRanges(threads, len(l.chunks), func(worker, from, to int) {
		errs[worker] = v.Guard(func() error {
			nearest := index.NewNearest(k)
			distances := make([]float32, store.ChunkRows)
			bound := float32(math.Inf(1))
			for n := from; n < to; n++ {
				kernel.SquaredL2Rows(q, l.chunks[n], distances)
				first := dataset.ID(n) * store.ChunkRows
				for i, d := range distances {
					if id := first + dataset.ID(i); d <= bound && l.ids.Has(id) {
						nearest.Offer(index.Neighbor{ID: id, Distance: d})
						if b, full := nearest.Bound(); full {
							bound = b
						}
					}
				}
			}
			parts[worker] = nearest
			return nil
		})
	})
	if err := firstError(errs); err != nil {
		return nil, err
	}
	all := index.NewNearest(k)
	for _, part := range parts {
		if part != nil {
			for _, n := range part.Sorted() {
				all.Offer(n)
			}
		}
	}
	return index.Measure(c.metric, all.Sorted()), nil
}

// firstError returns the first error of several goroutines.
func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

package evaluation

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

const (
	// galleryBlock rows of the gallery are compared with queryBlock queries by one matrix product: 512 KB of distances.
	galleryBlock = 1024
	queryBlock   = 128
	// queryChunk bounds the number of queries whose candidates are kept at once.
	queryChunk = 8192
	// spareCandidates are kept beyond k, because the values of the matrix product are not the last word on the order:
	// for L2 the distance is measured again, for the cosine different products may round to one distance.
	spareCandidates = 16
)

// Nearest returns the exact k nearest neighbours of every query in the gallery: by rising distance, equal distances by
// rising id, fewer than k where the gallery holds fewer. With leaveOneOut, the gallery's image of the query's own id is
// left out. It looks at every pair, 2*Dim operations each, by matrix products on up to threads threads (0: all cores).
//
// Cancelling ctx ends the search with ctx's error.
func Nearest(ctx context.Context, queries, gallery Set, metric index.Metric, k int, leaveOneOut bool, threads int) ([][]index.Neighbor, error) {
	if k < 1 {
		return nil, fmt.Errorf("%w: k is %d, at least 1 is needed", ErrOption, k)
	}
	if err := checkMetric(metric); err != nil {
		return nil, err
	}
	if err := checkSets(queries, gallery, leaveOneOut); err != nil {
		return nil, err
	}
	at, err := gallery.positions("gallery")
	if err != nil {
		return nil, err
	}
	s := newScan(queries, gallery, metric, threads)
	if leaveOneOut {
		s.self = selfPositions(queries, at)
	}
	found, err := s.run(ctx, k)
	if err != nil {
		return nil, err
	}
	out := make([][]index.Neighbor, len(found))
	for q, list := range found {
		out[q] = make([]index.Neighbor, len(list))
		for i, c := range list {
			out[q][i] = index.Neighbor{ID: gallery.IDs[c.at], Distance: c.distance}
		}
	}
	return out, nil
}

func checkMetric(metric index.Metric) error {
	if metric != index.L2 && metric != index.Cosine {
		return fmt.Errorf("%w: metric is %q, known are %q and %q", ErrOption, metric, index.L2, index.Cosine)
	}
	return nil
}

func checkSets(queries, gallery Set, leaveOneOut bool) error {
	if err := queries.check("query set", leaveOneOut); err != nil {
		return err
	}
	if err := gallery.check("gallery", true); err != nil {
		return err
	}
	if queries.Dim != gallery.Dim {
		return fmt.Errorf("%w: queries of dim %d for a gallery of dim %d", ErrSet, queries.Dim, gallery.Dim)
	}
	return nil
}

// selfPositions gives the row of each query's own id in the gallery, -1 where it is not there.
func selfPositions(queries Set, at map[dataset.ID]int32) []int32 {
	self := make([]int32, len(queries.IDs))
	for q, id := range queries.IDs {
		self[q] = -1
		if p, ok := at[id]; ok {
			self[q] = p
		}
	}
	return self
}

// candidate is one neighbour by its row in the gallery.
type candidate struct {
	at       int32
	distance float32
}

// scan is one exact search.
type scan struct {
	queries, gallery rows
	metric           index.Metric
	// ids order equal distances.
	ids []dataset.ID
	// self is the gallery's row to leave out for each query, -1 for none; nil leaves out nothing.
	self []int32
	// measure gives the last word on a distance; nil takes that of the matrix product (cosine only).
	measure func(q, g int) float32
	threads int
	// progress is told how many queries' worth of work is done, where it is not nil.
	progress func(queries int)
}

func newScan(queries, gallery Set, metric index.Metric, threads int) *scan {
	s := &scan{metric: metric, ids: gallery.IDs, threads: threads}
	if metric == index.Cosine {
		s.queries = comparableRows(queries, metric, nil, threads)
		s.gallery = comparableRows(gallery, metric, nil, threads)
		return s
	}
	center := mean(dense{gallery.Embeddings, gallery.Dim})
	s.queries = comparableRows(queries, metric, center, threads)
	s.gallery = comparableRows(gallery, metric, center, threads)
	s.measure = func(q, g int) float32 {
		return float32(math.Sqrt(float64(kernel.SquaredL2(queries.Row(q), gallery.Row(g)))))
	}
	return s
}

// run returns the k nearest rows of the gallery for every query.
func (s *scan) run(ctx context.Context, k int) ([][]candidate, error) {
	n, _ := s.queries.size()
	size, dim := s.gallery.size()
	k = min(k, size)
	kept := min(k+spareCandidates, size)
	byRank, ranks := rankIDs(s.ids)
	norms := s.norms()
	out := make([][]candidate, n)
	galleryScratch := make([]float32, min(galleryBlock, size)*dim)
	queryScratch := make([]float32, min(queryChunk, n)*dim)
	threads := kernel.Threads(s.threads)
	products := make([][]float32, threads)
	capacity := topKBuffer(kept)
	buffers := make([]uint64, min(queryChunk, n)*capacity)
	for chunk := 0; chunk < n; chunk += queryChunk {
		end := min(chunk+queryChunk, n)
		asked := s.queries.block(chunk, end, queryScratch)
		tops := make([]topK, end-chunk)
		for i := range tops {
			tops[i] = newTopK(kept, buffers[i*capacity:][:0:capacity])
		}
		blocks := (end - chunk + queryBlock - 1) / queryBlock
		for from := 0; from < size; from += galleryBlock {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			to := min(from+galleryBlock, size)
			block := s.gallery.block(from, to, galleryScratch)
			kernel.ParallelRanges(threads, blocks, func(worker, first, last int) {
				if products[worker] == nil {
					products[worker] = make([]float32, queryBlock*galleryBlock)
				}
				c := products[worker]
				for b := first; b < last; b++ {
					lo, hi := b*queryBlock, min((b+1)*queryBlock, len(tops))
					s.compare(asked[lo*dim:hi*dim], block, dim, norms[from:to], c)
					for q := lo; q < hi; q++ {
						skip := -1
						if s.self != nil {
							skip = int(s.self[chunk+q]) - from
						}
						tops[q].pushRow(c[(q-lo)*(to-from):][:to-from], ranks[from:to], skip)
					}
				}
			})
			if s.progress != nil {
				s.progress(chunk + int(float64(end-chunk)*float64(to)/float64(size)))
			}
		}
		kernel.Parallel(threads, len(tops), func(i int) {
			out[chunk+i] = s.finish(chunk+i, tops[i].sorted(), byRank, k)
		})
	}
	return out, nil
}

// norms holds half the squared length of each gallery row for L2, zeros for the cosine.
func (s *scan) norms() []float32 {
	size, dim := s.gallery.size()
	out := make([]float32, size)
	if s.metric == index.Cosine {
		return out
	}
	kernel.ParallelRanges(s.threads, size, func(_, from, to int) {
		scratch := make([]float32, dim)
		for i := from; i < to; i++ {
			row := s.gallery.block(i, i+1, scratch)
			out[i] = kernel.Dot(row, row) / 2
		}
	})
	return out
}

// compare writes to c, [queries, gallery rows], what orders the gallery as the distance does: -cos, or
// |g|^2/2 - q.g, which is half the squared distance less a constant of the query.
func (s *scan) compare(q, g []float32, dim int, norms, c []float32) {
	m, n := len(q)/dim, len(g)/dim
	beta := float32(0)
	if s.metric != index.Cosine {
		beta = 1
		for i := range m {
			copy(c[i*n:], norms)
		}
	}
	kernel.Gemm(false, true, m, n, dim, -1, q, dim, g, dim, beta, c, n)
}

// finish turns the keys of a query into its k nearest.
func (s *scan) finish(q int, keys []uint64, byRank []int32, k int) []candidate {
	list := make([]candidate, len(keys))
	for i, key := range keys {
		v, rank := splitKey(key)
		at := byRank[rank]
		list[i] = candidate{at, max(1+v, 0)}
		if s.measure != nil {
			list[i].distance = s.measure(q, int(at))
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(s.ids[a.at], s.ids[b.at]))
	})
	return slices.Clip(list[:min(k, len(list))])
}

// rankIDs numbers rows by rising id: byRank[ranks[i]] == i.
func rankIDs(ids []dataset.ID) (byRank []int32, ranks []uint32) {
	byRank = make([]int32, len(ids))
	for i := range byRank {
		byRank[i] = int32(i)
	}
	if !slices.IsSorted(ids) {
		slices.SortFunc(byRank, func(a, b int32) int {
			if ids[a] < ids[b] {
				return -1
			}
			return 1
		})
	}
	ranks = make([]uint32, len(ids))
	for rank, i := range byRank {
		ranks[i] = uint32(rank)
	}
	return byRank, ranks
}

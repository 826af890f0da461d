package evaluation

import (
	"math"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// rows is a matrix that exact search reads block by block, already in the form in which products of rows order the
// neighbours: of length one for the cosine, as they are (or shifted alike) for L2.
type rows interface {
	size() (n, dim int)
	// block returns rows [from, to), [to-from, dim], either its own memory or scratch, which is long enough.
	block(from, to int, scratch []float32) []float32
}

// dense is a matrix in memory.
type dense struct {
	data []float32
	dim  int
}

func (d dense) size() (int, int)                          { return len(d.data) / d.dim, d.dim }
func (d dense) block(from, to int, _ []float32) []float32 { return d.data[from*d.dim : to*d.dim] }

// comparableRows returns the set's embeddings as rows for the metric. For the cosine they are scaled to length one (a zero
// vector stays zero, and is at distance 1 from everything). For L2 center is subtracted, which changes no distance but
// keeps the products small beside the distances.
func comparableRows(s Set, metric index.Metric, center []float32, threads int) dense {
	out := dense{make([]float32, len(s.Embeddings)), s.Dim}
	kernel.Parallel(threads, s.Len(), func(i int) {
		row := out.data[i*s.Dim:][:s.Dim]
		copy(row, s.Row(i))
		if metric == index.Cosine {
			normalize(row)
		} else {
			kernel.Axpy(-1, center, row)
		}
	})
	return out
}

// normalize scales x to length one; a zero vector stays as it is. The length is taken in float64, so that neither tiny
// nor huge values are lost.
func normalize(x []float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return
	}
	inverse := 1 / math.Sqrt(sum)
	for i, v := range x {
		x[i] = float32(float64(v) * inverse)
	}
}

// mean is the mean row of a matrix, summed in float64.
func mean(r rows) []float32 {
	n, dim := r.size()
	sum := make([]float64, dim)
	scratch := make([]float32, min(n, galleryBlock)*dim)
	for from := 0; from < n; from += galleryBlock {
		to := min(from+galleryBlock, n)
		for block := r.block(from, to, scratch); len(block) > 0; block = block[dim:] {
			for i, v := range block[:dim] {
				sum[i] += float64(v)
			}
		}
	}
	out := make([]float32, dim)
	for i, v := range sum {
		out[i] = float32(v / float64(max(n, 1)))
	}
	return out
}

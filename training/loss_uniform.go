package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// uniformityScale is t of the uniformity of Wang & Isola, exp(-t d^2).
const uniformityScale = 2

// alignUniform is LossAlignUniform.
func (s *scorer[T]) alignUniform(e []T) scores {
	n, dim := 2*s.groups, s.dim
	// weights: cosine similarities, and then exp(-t d^2), as d^2 is 2 - 2 times the similarity.
	s.similarities(e)
	s.measure(s.unit, func(_, i int, _ []T) (float64, int) {
		row := s.weights[i*n:][:n]
		row[i], row[s.positiveOf(i)] = T(math.Inf(-1)), T(math.Inf(-1)) // whose exponential functions are 0
		return kernel.ExpSum(row, row, 1, 2*uniformityScale), 0
	})
	out := s.summary()
	total, weight := out.loss, s.options.Weights.factors().Uniformity
	var alignment float64
	for i := range n {
		d := float64(s.distances[i*n+s.positiveOf(i)])
		alignment += d * d
	}
	out.loss = alignment/float64(n) + weight*math.Log(total/float64(n*(n-2)))
	// The matrix is symmetric: similarity (i, j) depends on both rows, and (j, i) is the same.
	kernel.GemmParallel(s.threads, false, false, n, dim, n, T(4*uniformityScale*weight/total), s.weights, n, s.unit, dim, 0, s.unitGrad, dim)
	pull := T(4 / float64(n))
	kernel.Parallel(s.threads, n, func(i int) {
		row := s.unitGrad[i*dim:][:dim]
		kernel.Axpy(pull, s.unit[i*dim:][:dim], row)
		kernel.Axpy(-pull, s.unit[s.positiveOf(i)*dim:][:dim], row)
	})
	s.unitsBackward()
	return out
}

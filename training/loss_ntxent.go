package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// similarities fills s.unit with the embeddings at length 1 and s.weights with their cosine similarities.
func (s *scorer[T]) similarities(e []T) {
	n, dim := 2*s.groups, s.dim
	kernel.Parallel(s.threads, n, func(i int) {
		s.scale[i] = normalizeRow(s.unit[i*dim:][:dim], e[i*dim:][:dim])
	})
	kernel.GemmParallel(s.threads, false, true, n, n, dim, 1, s.unit, dim, s.unit, dim, 0, s.weights, n)
}

// unitsBackward fills s.gradient from s.unitGrad, the derivative of the loss by the embeddings at length 1.
func (s *scorer[T]) unitsBackward() {
	dim := s.dim
	kernel.Parallel(s.threads, 2*s.groups, func(i int) {
		normalizeRowBackward(s.gradient[i*dim:][:dim], s.unitGrad[i*dim:][:dim], s.unit[i*dim:][:dim], s.scale[i])
	})
}

// ntXent is LossNTXent and LossDecoupledNTXent.
func (s *scorer[T]) ntXent(e []T) scores {
	n, dim := 2*s.groups, s.dim
	decoupled := s.options.Loss == LossDecoupledNTXent
	// weights: cosine similarities, and then the derivative of the loss by them.
	s.similarities(e)
	s.measure(s.unit, func(_, i int, _ []T) (float64, int) {
		return crossEntropy(s.weights[i*n:][:n], i, s.positiveOf(i), decoupled, s.options.Temperature, 1/float64(n)), 0
	})
	out := s.summary()
	out.loss /= float64(n)
	// Similarity (i, j) depends on both rows.
	kernel.GemmParallel(s.threads, false, false, n, dim, n, 1, s.weights, n, s.unit, dim, 0, s.unitGrad, dim)
	kernel.GemmParallel(s.threads, true, false, n, dim, n, 1, s.weights, n, s.unit, dim, 1, s.unitGrad, dim)
	s.unitsBackward()
	return out
}

// crossEntropy returns -log(exp(x_p/temperature) / sum over all but the anchor of exp(x/temperature)) for an anchor's
// similarities x, and sets x to scale times its derivative by them. Where it is decoupled the sum has no positive either.
func crossEntropy[T kernel.Float](x []T, anchor, positive int, decoupled bool, temperature, scale float64) float64 {
	own := float64(x[positive])
	x[anchor] = T(math.Inf(-1)) // whose exponential function is 0
	if decoupled {
		x[positive] = x[anchor]
	}
	_, most, _ := kernel.RowRange(x, 0)
	total := kernel.ExpSum(x, x, most, T(1/temperature))
	kernel.Scale(T(scale/(total*temperature)), x)
	x[positive] -= T(scale / temperature)
	return math.Log(total) - (own-float64(most))/temperature
}

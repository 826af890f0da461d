package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// ntXent is LossNTXent.
func (s *scorer[T]) ntXent(e []T) scores {
	n, dim := 2*s.groups, s.dim
	for i := range n {
		s.scale[i] = normalizeRow(s.unit[i*dim:][:dim], e[i*dim:][:dim])
	}
	s.measure(s.unit)
	// weights: cosine similarities, and then the derivative of the loss by them.
	kernel.GemmParallel(s.threads, false, true, n, n, dim, 1, s.unit, dim, s.unit, dim, 0, s.weights, n)
	kernel.Parallel(s.threads, n, func(i int) {
		s.each[i].loss = crossEntropy(s.weights[i*n:][:n], i, s.positiveOf(i), s.options.Temperature, 1/float64(n))
	})
	out := s.summary()
	out.loss /= float64(n)
	// Similarity (i, j) depends on both rows.
	kernel.GemmParallel(s.threads, false, false, n, dim, n, 1, s.weights, n, s.unit, dim, 0, s.unitGrad, dim)
	kernel.GemmParallel(s.threads, true, false, n, dim, n, 1, s.weights, n, s.unit, dim, 1, s.unitGrad, dim)
	for i := range n {
		normalizeRowBackward(s.gradient[i*dim:][:dim], s.unitGrad[i*dim:][:dim], s.unit[i*dim:][:dim], s.scale[i])
	}
	return out
}

// crossEntropy returns -log(exp(x_p/temperature) / sum over all but the anchor of exp(x/temperature)) for an anchor's
// similarities x, and sets x to scale times its derivative by them.
func crossEntropy[T kernel.Float](x []T, anchor, positive int, temperature, scale float64) float64 {
	most := math.Inf(-1)
	for j, v := range x {
		if j != anchor {
			most = max(most, float64(v)/temperature)
		}
	}
	own := float64(x[positive])/temperature - most
	var total float64
	for j, v := range x {
		if j != anchor {
			y := math.Exp(float64(v)/temperature - most)
			total += y
			x[j] = T(y)
		}
	}
	for j, v := range x {
		x[j] = T(float64(v) / total * scale / temperature)
	}
	x[anchor] = 0
	x[positive] -= T(scale / temperature)
	return math.Log(total) - own
}

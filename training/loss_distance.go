package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// The distance of all losses is the Euclidean one. Where two embeddings are equal it has no derivative; 0 is taken.

// distance returns the distance of a and b.
func distance[T kernel.Float](a, b []T) float64 {
	var total float64
	for i, v := range a {
		d := float64(v) - float64(b[i])
		total += d * d
	}
	return math.Sqrt(total)
}

// pairDistances fills out [n, n] with the distances between the rows of e [n, dim].
func pairDistances[T kernel.Float](threads int, e []T, dim int, out []T) {
	n := len(e) / dim
	kernel.Parallel(threads, n, func(i int) {
		row := out[i*n:][:n]
		q := e[i*dim:][:dim]
		if e32, ok := any(e).([]float32); ok {
			kernel.SquaredL2Rows(any(q).([]float32), e32, any(row).([]float32))
			for j, v := range row {
				row[j] = T(math.Sqrt(float64(v)))
			}
			return
		}
		for j := range row {
			row[j] = T(distance(q, e[j*dim:][:dim]))
		}
	})
}

// distanceGradient sets gradient [n, dim] to scale times the derivative of the sum of weights[i, j] * d(i, j) by the
// embeddings e, given their distances. It overwrites weights.
func distanceGradient[T kernel.Float](threads int, e []T, dim int, distances, weights []T, scale float64, gradient []T) {
	n := len(e) / dim
	// weights becomes the symmetric matrix (w + w^T) / d; the gradient of row i is then the sum over j of that times
	// (e_i - e_j).
	kernel.Parallel(threads, n, func(i int) {
		for j := range i {
			var v T
			if d := float64(distances[i*n+j]); d != 0 {
				v = T(scale * (float64(weights[i*n+j]) + float64(weights[j*n+i])) / d)
			}
			weights[i*n+j] = v
		}
		weights[i*n+i] = 0
	})
	kernel.Parallel(threads, n, func(j int) {
		for i := range j {
			weights[i*n+j] = weights[j*n+i]
		}
	})
	kernel.GemmParallel(threads, false, false, n, dim, n, -1, weights, n, e, dim, 0, gradient, dim)
	for i := range n {
		kernel.Axpy(kernel.Sum(weights[i*n:][:n]), e[i*dim:][:dim], gradient[i*dim:][:dim])
	}
}

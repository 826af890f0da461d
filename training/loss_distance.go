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

// rowDistances fills out with the distances of row i of e [n, dim] to all rows.
func rowDistances[T kernel.Float](e []T, dim, i int, out []T) {
	distancesTo(e[i*dim:][:dim], e, dim, out)
}

// distancesTo fills out with the distances of q to the rows of e [len(out), dim].
func distancesTo[T kernel.Float](q, e []T, dim int, out []T) {
	if e32, ok := any(e).([]float32); ok {
		kernel.SquaredL2Rows(any(q).([]float32), e32, any(out).([]float32))
		kernel.Sqrt(out)
		return
	}
	for j := range out {
		out[j] = T(distance(q, e[j*dim:][:dim]))
	}
}

// distanceGradient sets gradient [n, dim] to scale times the derivative of the sum of weights[i, j] * d(i, j) by the
// embeddings e, given their distances. It overwrites weights.
func distanceGradient[T kernel.Float](threads int, e []T, dim int, distances, weights []T, scale float64, gradient []T) {
	n := len(e) / dim
	// weights becomes the symmetric matrix (w + w^T) / d; the gradient of row i is then the sum over j of that times
	// (e_i - e_j).
	kernel.Parallel(threads, n, func(i int) {
		row := weights[i*n:][:n]
		kernel.Quotients(row, distances[i*n:][:n], T(scale))
		row[i] = 0
	})
	kernel.Symmetrize(threads, n, weights)
	kernel.GemmParallel(threads, false, false, n, dim, n, -1, weights, n, e, dim, 0, gradient, dim)
	kernel.Parallel(threads, n, func(i int) {
		kernel.Axpy(kernel.Sum(weights[i*n:][:n]), e[i*dim:][:dim], gradient[i*dim:][:dim])
	})
}

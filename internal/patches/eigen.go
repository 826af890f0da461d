package patches

import (
	"context"
	"math/rand/v2"

	"imgsearch/internal/kernel"
)

// eigenRounds is the number of rounds of subspace iteration. The leading vectors have long settled then; those near the
// cut span their space only roughly, which features do not feel.
const eigenRounds = 30

// leading returns about the k leading eigenvectors, [k, n], of a symmetric positive semidefinite operator with their
// eigenvalues, falling, by subspace iteration (Halko, Martinsson & Tropp 2011, arXiv 0909.4061, algorithm 4.4) with a
// Rayleigh-Ritz step at the end. multiply sets out, [rows, n], to the products of the rows of x with the operator.
func leading(ctx context.Context, n, k int, seed uint64, threads int, multiply func(x, out []float32), progress func(done, total int)) ([]float32, []float64, error) {
	width := min(n, k+max(16, k/4))
	rng := rand.New(rand.NewPCG(seed, 0x656967656e))
	x := make([]float32, width*n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	y := make([]float32, width*n)
	for round := range eigenRounds {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if err := orthonormalize(x, y, n, threads); err != nil {
			return nil, nil, err
		}
		multiply(x, y)
		progress(round+1, eigenRounds)
		if round < eigenRounds-1 {
			x, y = y, x
		}
	}
	small := make([]float32, width*width)
	kernel.GemmParallel(threads, false, true, width, width, n, 1, x, n, y, n, 0, small, width)
	values, rotation, err := symmetricEigen(small, width)
	if err != nil {
		return nil, nil, err
	}
	out := make([]float32, k*n)
	kernel.GemmParallel(threads, false, false, k, n, width, 1, rotation, width, x, n, 0, out, n)
	return out, values[:k], nil
}

// orthonormalize makes the rows of x, of length n, orthonormal, twice by the Cholesky factor of their products (Yamamoto
// et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm"). Where rows are spanned by the others, up to
// rounding, a ridge keeps the factor apart from that; such rows come out shorter than one. scratch is as long as x.
func orthonormalize(x, scratch []float32, n, threads int) error {
	width := len(x) / n
	products := make([]float32, width*width)
	for range 2 {
		for i := range width {
			unit(x[i*n:][:n])
		}
		var w []float32
		err := errIndefinite
		for ridge := float32(1e-5); err != nil && ridge < 1; ridge *= 10 {
			kernel.GemmParallel(threads, false, true, width, width, n, 1, x, n, x, n, 0, products, width)
			for i := range width {
				products[i*width+i] += ridge
			}
			w, err = inverseCholesky(products, width, threads)
		}
		if err != nil {
			return err
		}
		kernel.GemmParallel(threads, false, false, width, n, width, 1, w, width, x, n, 0, scratch, n)
		copy(x, scratch)
	}
	return nil
}

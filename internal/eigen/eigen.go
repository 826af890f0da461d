// Package eigen solves the eigenvalue problems behind principal components, for packages evaluation and training.
package eigen

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// ErrConverge is returned by Symmetric where the iteration does not converge, or a value of the matrix is not finite.
var ErrConverge = errors.New("eigenvalues did not converge")

// Symmetric returns the eigenvalues of the symmetric matrix a, [n, n], falling, and its orthonormal eigenvectors as rows,
// [n, n]. The signs are what the factorisation leaves: see [FixSigns]. Of a the upper triangle counts; it is not changed.
// The result does not depend on the number of threads.
func Symmetric(a []float64, n int) (values, vectors []float64, err error) {
	if slices.ContainsFunc(a, func(x float64) bool { return x-x != 0 }) {
		return nil, nil, ErrConverge
	}
	sym := mat.NewSymDense(n, slices.Clone(a))
	var eigen mat.EigenSym
	if !eigen.Factorize(sym, true) {
		return nil, nil, ErrConverge
	}
	var columns mat.Dense
	eigen.VectorsTo(&columns)
	values = eigen.Values(nil)
	slices.Reverse(values)
	vectors = make([]float64, n*n)
	for i := range n {
		for j := range n {
			vectors[i*n+j] = columns.At(j, n-1-i)
		}
	}
	return values, vectors, nil
}

// FixSigns turns each row of length n, so that its value of largest magnitude, the first of equal ones, is positive.
func FixSigns[T float32 | float64](rows []T, n int) {
	for ; len(rows) > 0; rows = rows[n:] {
		row := rows[:n]
		largest := row[0]
		for _, x := range row {
			if math.Abs(float64(x)) > math.Abs(float64(largest)) {
				largest = x
			}
		}
		if largest < 0 {
			for i := range row {
				row[i] = -row[i]
			}
		}
	}
}

package patches

import (
	"errors"
	"math"

	"imgsearch/internal/kernel"
)

// errIndefinite is returned for a matrix that is not positive definite.
var errIndefinite = errors.New("matrix is not positive definite")

// choleskyBlock rows are factored at a time.
const choleskyBlock = 96

// inverseCholesky returns W, [n, n], lower triangular, with W a W^T = I, for the symmetric positive definite matrix a,
// [n, n], which it overwrites: the inverse of the factor L of a = L L^T. Diagonal blocks are factored in float64, the
// rest is matrix products (Golub & Van Loan, Matrix Computations, section 4.2).
func inverseCholesky(a []float32, n, threads int) ([]float32, error) {
	w := make([]float32, n*n)
	strip := make([]float32, n*choleskyBlock)
	for k := 0; k < n; k += choleskyBlock {
		nb := min(choleskyBlock, n-k)
		inverse := make([]float32, nb*nb)
		if err := invertDiagonal(a[k*n+k:], n, nb, inverse); err != nil {
			return nil, err
		}
		for i := range nb {
			copy(w[(k+i)*n+k:][:nb], inverse[i*nb:][:nb])
		}
		below := n - k - nb
		if below == 0 {
			break
		}
		// The strip of L below the diagonal block, then what it takes from the rest.
		rest := a[(k+nb)*n:]
		kernel.GemmParallel(threads, false, true, below, nb, nb, 1, rest[k:], n, inverse, nb, 0, strip, nb)
		kernel.GemmParallel(threads, false, true, below, below, nb, -1, strip, nb, strip, nb, 1, rest[k+nb:], n)
		for i := range below {
			copy(rest[i*n+k:][:nb], strip[i*nb:][:nb])
		}
	}
	product := make([]float32, choleskyBlock*n)
	for k := choleskyBlock; k < n; k += choleskyBlock {
		nb := min(choleskyBlock, n-k)
		kernel.GemmParallel(threads, false, false, nb, k, k, 1, a[k*n:], n, w, n, 0, product, k)
		kernel.GemmParallel(threads, false, false, nb, k, nb, -1, w[k*n+k:], n, product, k, 0, w[k*n:], n)
	}
	return w, nil
}

// invertDiagonal writes the inverse of the Cholesky factor of an [nb, nb] block, whose rows are ld apart.
func invertDiagonal(a []float32, ld, nb int, inverse []float32) error {
	l := make([]float64, nb*nb)
	for i := range nb {
		for j := 0; j <= i; j++ {
			s := float64(a[i*ld+j])
			for k := range j {
				s -= l[i*nb+k] * l[j*nb+k]
			}
			if i > j {
				l[i*nb+j] = s / l[j*nb+j]
				continue
			}
			if !(s > 0) || math.IsInf(s, 0) {
				return errIndefinite
			}
			l[i*nb+i] = math.Sqrt(s)
		}
	}
	w := make([]float64, nb*nb)
	for j := range nb {
		w[j*nb+j] = 1 / l[j*nb+j]
		for i := j + 1; i < nb; i++ {
			s := 0.0
			for k := j; k < i; k++ {
				s -= l[i*nb+k] * w[k*nb+j]
			}
			w[i*nb+j] = s / l[i*nb+i]
		}
	}
	for i, v := range w {
		inverse[i] = float32(v)
	}
	return nil
}

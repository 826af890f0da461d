package patches

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"

	"imgsearch/internal/kernel"
)

// errEigen is returned where an eigenproblem has no numbers as its answer.
var errEigen = errors.New("eigenproblem without a solution")

// whitening evens out the variances of patches: out = (x - mean) * matrix.
type whitening struct {
	mean   []float32 // [dim]
	matrix []float32 // [dim, dim], symmetric
}

// fitWhitening makes the symmetric ("ZCA") whitening of rows of values: the eigenvectors of their covariance, scaled
// by (variance + smoothing * mean variance)^(-1/2), turned back.
func fitWhitening(rows []float32, dim int, smoothing float64, threads int) (*whitening, error) {
	n := len(rows) / dim
	w := &whitening{mean: columnMeans(rows, dim)}
	covariance := make([]float32, dim*dim)
	centred := make([]float32, min(n, rowsAtOnce)*dim)
	for from := 0; from < n; from += rowsAtOnce {
		block := centred[:min(rowsAtOnce, n-from)*dim]
		copy(block, rows[from*dim:])
		subtractRow(block, w.mean)
		kernel.GemmParallel(threads, true, false, dim, dim, len(block)/dim, 1/float32(n), block, dim, block, dim, 1, covariance, dim)
	}
	values, vectors, err := symmetricEigen(covariance, dim)
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for _, v := range values {
		sum += max(v, 0)
	}
	floor := smoothing*sum/float64(dim) + 1e-12
	scaled := make([]float32, dim*dim)
	for i, v := range values {
		s := float32(1 / math.Sqrt(max(v, 0)+floor))
		for j, x := range vectors[i*dim:][:dim] {
			scaled[i*dim+j] = s * x
		}
	}
	w.matrix = make([]float32, dim*dim)
	kernel.GemmParallel(threads, true, false, dim, dim, dim, 1, scaled, dim, vectors, dim, 0, w.matrix, dim)
	return w, nil
}

// apply whitens rows, which it overwrites with their centred values, into out.
func (w *whitening) apply(rows, out []float32) {
	dim := len(w.mean)
	n := len(rows) / dim
	subtractRow(rows, w.mean)
	kernel.Gemm(false, false, n, dim, dim, 1, rows, dim, w.matrix, dim, 0, out, dim)
}

// rowsAtOnce rows are centred at a time.
const rowsAtOnce = 4096

func subtractRow(rows, row []float32) {
	for ; len(rows) > 0; rows = rows[len(row):] {
		kernel.Axpy(-1, row, rows[:len(row)])
	}
}

// columnMeans sums in float64.
func columnMeans(rows []float32, dim int) []float32 {
	sum := make([]float64, dim)
	n := len(rows) / dim
	for ; len(rows) > 0; rows = rows[dim:] {
		for i, v := range rows[:dim] {
			sum[i] += float64(v)
		}
	}
	out := make([]float32, dim)
	for i, v := range sum {
		out[i] = float32(v / float64(n))
	}
	return out
}

// unit scales x to length one and returns the length that it had; a zero vector stays.
func unit(x []float32) float32 {
	length := float32(math.Sqrt(float64(kernel.Dot(x, x))))
	if length > 0 {
		kernel.Scale(1/length, x)
	}
	return length
}

// symmetricEigen returns the eigenvalues of the symmetric [n, n] matrix a, falling, and its eigenvectors as rows, the
// value of largest magnitude of each positive.
func symmetricEigen(a []float32, n int) ([]float64, []float32, error) {
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			v := (float64(a[i*n+j]) + float64(a[j*n+i])) / 2
			if v-v != 0 {
				return nil, nil, errEigen
			}
			sym.SetSym(i, j, v)
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(sym, true) {
		return nil, nil, errEigen
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	values := make([]float64, n)
	rows := make([]float32, n*n)
	ascending := eigen.Values(nil)
	for i := range n {
		values[i] = ascending[n-1-i]
		largest := 0.0
		for j := range n {
			if v := vectors.At(j, n-1-i); math.Abs(v) > math.Abs(largest) {
				largest = v
			}
		}
		for j := range n {
			rows[i*n+j] = float32(math.Copysign(1, largest) * vectors.At(j, n-1-i))
		}
	}
	return values, rows, nil
}

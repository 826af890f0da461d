//go:build !amd64

package kernel

// available tells which of pathNames this processor runs.
var available = [len(pathNames)]bool{vectorNone: true}

func gemm32(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	gemmGo(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

func axpy32(alpha float32, x, y []float32) { axpyGo(alpha, x, y) }

func scale32(alpha float32, x []float32) { scaleGo(alpha, x) }

func sum32(x []float32) float32 { return sumGo(x) }

func dot(a, b []float32) float32 { return dotGo(a, b) }

func squaredL2(a, b []float32) float32 { return squaredL2Go(a, b) }

func dotRows(q, rows, out []float32) { dotRowsGo(q, rows, out) }

func squaredL2Rows(q, rows, out []float32) { squaredL2RowsGo(q, rows, out) }

func squaredL2Each(q []float32, rows []*float32, out []float32) { squaredL2EachGo(q, rows, out) }

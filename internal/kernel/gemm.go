package kernel

import "fmt"

// GemmBlock is the number of products that [Gemm] adds up before it adds the sum to an element of C.
const GemmBlock = 256

// Gemm computes C = alpha * op(A) * op(B) + beta * C, all matrices row by row.
//
// op(A) is [m, k]: A itself, with lda values from one row to the next, or, with transA, the transpose of A, which is
// then [k, m]. op(B) is [k, n]: B itself, or, with transB, the transpose of B, which is then [n, k]. C is [m, n] and
// must not overlap A or B. Where beta is 0, C is overwritten without being read (NaN there is gone); where alpha is 0
// or k is 0, A and B are not read. Gemm panics where a slice is too short for its matrix.
//
// Summation order: element (i, j) is beta*C(i, j) + alpha*S0 + alpha*S1 + …, from left to right, where S0 is the sum of
// its products 0 to [GemmBlock]-1 in that order, and so on. It depends neither on m and n nor on i and j.
func Gemm[T Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	checkGemm(transA, transB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc)
	gemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// GemmParallel is [Gemm] on up to [Threads](threads) threads, with the same result bit for bit: C is cut into bands of
// whole rows or of whole columns, one for each thread.
func GemmParallel[T Float](threads int, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	checkGemm(transA, transB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc)
	threads = worthwhile(threads, m*n*k)
	if threads == 1 {
		gemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	// Bands are whole multiples of a panel of registers, so that no thread works on half-empty ones.
	byRow := m > n
	size, unit := n, 32
	if byRow {
		size, unit = m, 12
	}
	units := (size + unit - 1) / unit
	ParallelRanges(threads, units, func(_, from, to int) {
		from, to = from*unit, min(to*unit, size)
		if byRow {
			row := from
			if !transA {
				row *= lda
			}
			gemm(transA, transB, to-from, n, k, alpha, a[min(row, len(a)):], lda, b, ldb, beta, c[from*ldc:], ldc)
			return
		}
		col := from
		if transB {
			col *= ldb
		}
		gemm(transA, transB, m, to-from, k, alpha, a, lda, b[min(col, len(b)):], ldb, beta, c[from:], ldc)
	})
}

func gemm[T Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	if m == 0 || n == 0 {
		return
	}
	if k == 0 || alpha == 0 {
		for i := range m {
			row := c[i*ldc:][:n]
			switch beta {
			case 0:
				clear(row)
			case 1:
			default:
				Scale(beta, row)
			}
		}
		return
	}
	if a32, ok := any(a).([]float32); ok {
		gemm32(transA, transB, m, n, k, float32(alpha), a32, lda, any(b).([]float32), ldb, float32(beta), any(c).([]float32), ldc)
		return
	}
	gemmGo(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// The plain version works on tiles of goRows x goCols elements of C, whose sums fit the registers of any processor.
const goRows, goCols = 2, 4

// gemmGo is the plain version of Gemm; m, n, k and alpha are not zero. Both factors are copied into panels that hold
// goRows rows or goCols columns in the order of k, zeros beyond the edge.
func gemmGo[T Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	scratch := borrow[T](GemmBlock * (goRows*((m+goRows-1)/goRows) + goCols))
	defer giveBack(scratch)
	panelB, panelsA := scratch[:GemmBlock*goCols], scratch[GemmBlock*goCols:]
	for p0 := 0; p0 < k; p0 += GemmBlock {
		kc := min(GemmBlock, k-p0)
		for i := 0; i < m; i += goRows {
			packGo(panelsA[i*kc:], goRows, a, lda, transA, i, min(goRows, m-i), p0, kc)
		}
		for j := 0; j < n; j += goCols {
			cols := min(goCols, n-j)
			packGo(panelB, goCols, b, ldb, !transB, j, cols, p0, kc)
			for i := 0; i < m; i += goRows {
				sum := tileGo(panelsA[i*kc:][:kc*goRows], panelB[:kc*goCols])
				for r := range min(goRows, m-i) {
					row := c[(i+r)*ldc+j:][:cols]
					for s := range row {
						v := alpha * sum[r*goCols+s]
						switch {
						case p0 > 0:
							v += row[s]
						case beta != 0:
							v += beta * row[s]
						}
						row[s] = v
					}
				}
			}
		}
	}
}

// packGo copies lines [first, first+count) of a matrix, values [p0, p0+kc) of each, into a panel of width lines. The
// matrix holds a line as a row or, with columns set, as a column.
func packGo[T Float](panel []T, width int, x []T, ld int, columns bool, first, count, p0, kc int) {
	if count < width {
		clear(panel[:kc*width])
	}
	if columns {
		for p := range kc {
			copy(panel[p*width:], x[(p0+p)*ld+first:][:count])
		}
		return
	}
	for l := range count {
		for p, v := range x[(first+l)*ld+p0:][:kc] {
			panel[p*width+l] = v
		}
	}
}

func tileGo[T Float](a, b []T) (sum [goRows * goCols]T) {
	var s00, s01, s02, s03, s10, s11, s12, s13 T
	for len(a) >= goRows && len(b) >= goCols {
		a0, a1 := a[0], a[1]
		b0, b1, b2, b3 := b[0], b[1], b[2], b[3]
		s00 += a0 * b0
		s01 += a0 * b1
		s02 += a0 * b2
		s03 += a0 * b3
		s10 += a1 * b0
		s11 += a1 * b1
		s12 += a1 * b2
		s13 += a1 * b3
		a, b = a[goRows:], b[goCols:]
	}
	return [goRows * goCols]T{s00, s01, s02, s03, s10, s11, s12, s13}
}

func checkGemm(transA, transB bool, m, n, k, a, lda, b, ldb, c, ldc int) {
	if m < 0 || n < 0 || k < 0 {
		panic(fmt.Sprintf("kernel: Gemm of m %d, n %d, k %d", m, n, k))
	}
	checkMatrix("A", transA, m, k, a, lda)
	checkMatrix("B", transB, k, n, b, ldb)
	checkMatrix("C", false, m, n, c, ldc)
}

func checkMatrix(name string, trans bool, rows, cols, length, ld int) {
	if trans {
		rows, cols = cols, rows
	}
	if ld < cols {
		panic(fmt.Sprintf("kernel: Gemm: %d values from row to row of %s, which is [%d %d]", ld, name, rows, cols))
	}
	if rows > 0 && cols > 0 && length < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: Gemm: %d values for %s, which is [%d %d] with rows %d apart", length, name, rows, cols, ld))
	}
}

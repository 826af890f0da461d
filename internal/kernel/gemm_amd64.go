package kernel

import (
	"sync"
	"unsafe"
)

//go:generate go run ./gen

// tileArgs is what the assembly of a tile takes; gen/gemm.go knows the offsets. Distances are in bytes.
type tileArgs struct {
	a, b, c     unsafe.Pointer // panel of A, panel of B (gemmThin: the rows of B themselves), first element of the tile
	kc          int            // products of an element, at least 1
	ldc         int
	alpha, beta float32
	cols        int // columns of the tile that exist
	ldb         int // gemmThin only
}

// packArgs is what packLines and packColumns take.
type packArgs struct {
	dst   unsafe.Pointer
	step  int // from one p to the next in the panel
	src   unsafe.Pointer
	ld    int // from one row of the matrix to the next
	count int // lines, at least 1
	kc    int // values of each line, at least 1
}

// rowsArgs is what gemmRows takes.
type rowsArgs struct {
	coef        unsafe.Pointer // [p][row]
	b           unsafe.Pointer
	ldb         int
	sum         unsafe.Pointer
	lds         int
	c           unsafe.Pointer
	ldc         int
	n           int // columns, at least 1
	alpha, beta float32
	first, last int // 0 or 1
}

// A tiling is what the driver must know of an instruction set.
type tiling struct {
	lanes    int // float32 values in a register
	tileRows int // rows of the largest tile; its columns are two registers
	thinRows int // rows up to which gemmThin exists
	rowsRows int // rows that gemmRows does at a time
	tile     func(rows, vecs int, arg *tileArgs)
	thin     func(rows int, arg *tileArgs)
	rows     func(rows, terms int, arg *rowsArgs)
	lines    func(arg *packArgs)
	columns  func(arg *packArgs)
}

var (
	tiling512 = tiling{16, 14, 8, 4, gemmTile512, gemmThin512, gemmRows512, packLines512, packColumns512}
	tiling256 = tiling{8, 6, 6, 2, gemmTile256, gemmThin256, gemmRows256, packLines256, packColumns256}
)

// Sizes of the blocks that are packed at a time: a block of A stays in the second-level cache, one of B in the third.
const (
	gemmBlockM = 252
	gemmBlockN = 2048
	// gemmBandN is how many columns of B are packed at a time where all of A fits one block.
	gemmBandN = 128
	// rowsSegment is how many columns gemmRows works on at a time: what it reads and writes stays in the first-level cache.
	rowsSegment = 1024
	// thinTerms is the k up to which a product with B as it lies is written row by row.
	thinTerms = 8
)

// gemmScratch is what one product needs: memory for packed panels, sums and a transposed C, and arguments, which would
// be allocated each time if they were variables.
type gemmScratch struct {
	a, b, sums, ct []float32
	coef           [16]float32
	tile           tileArgs
	pack           packArgs
	rows           rowsArgs
}

var gemmPool = sync.Pool{New: func() any { return new(gemmScratch) }}

// grow returns n values, in *s where they fit, beginning at a cache line.
func grow(s *[]float32, n int) []float32 {
	if len(*s) < n {
		x := make([]float32, n+n/4+16)
		skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(x)))%64) / 4
		*s = x[skip:]
	}
	return (*s)[:n]
}

func ptr(x []float32, i int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(x)), 4*i)
}

// gemmSIMD is Gemm on vector registers; m, n, k and alpha are not zero. All of its ways to a product add the products
// of an element in the same order with the same operations.
func (t *tiling) gemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	s := gemmPool.Get().(*gemmScratch)
	defer func() {
		s.tile, s.pack, s.rows = tileArgs{}, packArgs{}, rowsArgs{} // the pool keeps no caller's slice
		gemmPool.Put(s)
	}()
	if n <= 4 && m > 2*n {
		t.gemmSwapped(s, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	t.gemmInto(s, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// gemmSwapped computes the transpose of C, which suits the other ways better where C has few columns.
func (t *tiling) gemmSwapped(s *gemmScratch, transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	ct := grow(&s.ct, m*n)
	if beta != 0 {
		for i := range m {
			for j := range n {
				ct[j*m+i] = c[i*ldc+j]
			}
		}
	}
	t.gemmInto(s, !transB, !transA, n, m, k, alpha, b, ldb, a, lda, beta, ct, m)
	for i := range m {
		for j := range n {
			c[i*ldc+j] = ct[j*m+i]
		}
	}
}

func (t *tiling) gemmInto(s *gemmScratch, transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	switch {
	case !transB && (m <= t.thinRows || k <= thinTerms):
		t.gemmByRows(s, transA, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	case transB && m <= t.thinRows:
		whole := n - n%t.lanes
		t.gemmThin(s, transA, m, whole, k, alpha, a, lda, b, ldb, beta, c, ldc)
		if whole < n {
			t.gemmTiles(s, transA, transB, m, n-whole, k, alpha, a, lda, b[whole*ldb:], ldb, beta, c[whole:], ldc)
		}
	default:
		t.gemmTiles(s, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	}
}

// gemmTiles packs blocks of both factors and computes C tile by tile. Where all of A fits one block, a few panels
// of B are packed just before they are used; else blocks of both are, and every block of B meets all blocks of A.
func (t *tiling) gemmTiles(s *gemmScratch, transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	width := 2 * t.lanes
	single := m <= gemmBlockM
	blockN := min(gemmBlockN, n)
	if single {
		blockN = min(gemmBandN, n)
	}
	blockM, blockK := min(gemmBlockM, m), min(GemmBlock, k)
	packedB := grow(&s.b, (blockN+width-1)/width*width*blockK)
	packedA := grow(&s.a, (blockM+t.tileRows)*blockK+64)
	arg := &s.tile
	*arg = tileArgs{ldc: 4 * ldc, alpha: alpha}
	block := func(i0, mc, j0, nc, kc int) {
		panels := (mc + t.tileRows - 1) / t.tileRows
		for j := 0; j < nc; j += width {
			arg.b = ptr(packedB, j*kc)
			arg.cols = min(width, nc-j)
			vecs := 2
			if arg.cols <= t.lanes {
				vecs = 1
			}
			for p := range panels {
				from, to := p*mc/panels, (p+1)*mc/panels
				arg.a = ptr(packedA, from*kc)
				arg.c = ptr(c, (i0+from)*ldc+j0+j)
				t.tile(to-from, vecs, arg)
			}
		}
	}
	products := func(p0 int) int {
		arg.kc, arg.beta = min(GemmBlock, k-p0), 1
		if p0 == 0 {
			arg.beta = beta
		}
		return arg.kc
	}
	if single {
		for p0 := 0; p0 < k; p0 += GemmBlock {
			kc := products(p0)
			t.packA(s, packedA, a, lda, transA, 0, m, p0, kc)
			for j0 := 0; j0 < n; j0 += gemmBandN {
				nc := min(gemmBandN, n-j0)
				t.packB(s, packedB, b, ldb, transB, j0, nc, p0, kc)
				block(0, m, j0, nc, kc)
			}
		}
		return
	}
	for j0 := 0; j0 < n; j0 += gemmBlockN {
		nc := min(gemmBlockN, n-j0)
		for p0 := 0; p0 < k; p0 += GemmBlock {
			kc := products(p0)
			t.packB(s, packedB, b, ldb, transB, j0, nc, p0, kc)
			for i0 := 0; i0 < m; i0 += gemmBlockM {
				mc := min(gemmBlockM, m-i0)
				t.packA(s, packedA, a, lda, transA, i0, mc, p0, kc)
				block(i0, mc, j0, nc, kc)
			}
		}
	}
}

// packB copies columns [j0, j0+nc), products [p0, p0+kc), into panels as wide as a tile.
func (t *tiling) packB(s *gemmScratch, packed, b []float32, ldb int, transB bool, j0, nc, p0, kc int) {
	width := 2 * t.lanes
	arg := &s.pack
	*arg = packArgs{step: 4 * width, ld: 4 * ldb, kc: kc}
	for j := 0; j < nc; j += width {
		if !transB {
			arg.dst, arg.src, arg.count = ptr(packed, j*kc), ptr(b, p0*ldb+j0+j), min(width, nc-j)
			t.lines(arg)
			continue
		}
		for half := 0; half < width && j+half < nc; half += t.lanes {
			arg.dst, arg.src, arg.count = ptr(packed, j*kc+half), ptr(b, (j0+j+half)*ldb+p0), min(t.lanes, nc-j-half)
			t.columns(arg)
		}
	}
}

// packA copies rows [i0, i0+mc), products [p0, p0+kc), into panels of nearly equal numbers of rows.
func (t *tiling) packA(s *gemmScratch, packed, a []float32, lda int, transA bool, i0, mc, p0, kc int) {
	panels := (mc + t.tileRows - 1) / t.tileRows
	arg := &s.pack
	*arg = packArgs{ld: 4 * lda, kc: kc}
	for p := range panels {
		from, to := p*mc/panels, (p+1)*mc/panels
		arg.dst, arg.step, arg.count = ptr(packed, from*kc), 4*(to-from), to-from
		if transA {
			arg.src = ptr(a, p0*lda+i0+from)
			t.lines(arg)
		} else {
			arg.src = ptr(a, (i0+from)*lda+p0)
			t.columns(arg)
		}
	}
}

// gemmThin is for few rows of C and a transposed B, such as the linear layer [m, k] x [n, k]: it reads B once, as it
// lies. n is a multiple of lanes.
func (t *tiling) gemmThin(s *gemmScratch, transA bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	packed := grow(&s.a, m*k+64)
	for p0 := 0; p0 < k; p0 += GemmBlock {
		t.packA(s, packed[m*p0:], a, lda, transA, 0, m, p0, min(GemmBlock, k-p0))
	}
	arg := &s.tile
	*arg = tileArgs{ldc: 4 * ldc, alpha: alpha, ldb: 4 * ldb, cols: t.lanes}
	for j := 0; j < n; j += t.lanes {
		arg.c, arg.beta = ptr(c, j), beta
		for p0 := 0; p0 < k; p0 += GemmBlock {
			arg.a, arg.b, arg.kc = ptr(packed, m*p0), ptr(b, j*ldb+p0), min(GemmBlock, k-p0)
			t.thin(m, arg)
			arg.beta = 1
		}
	}
}

// gemmByRows is for few rows of C or few products, B lying as it is multiplied: it goes along long runs of the rows of
// B and C, whose sums wait in memory between one group of four products and the next.
func (t *tiling) gemmByRows(s *gemmScratch, transA bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	const terms = 4
	// Where k fits one group the sums never wait; else all rows' sums do, for k's loop goes outside theirs.
	sums := grow(&s.sums, min(m, max(t.thinRows, t.rowsRows))*rowsSegment+m)
	coef := &s.coef
	arg := &s.rows
	*arg = rowsArgs{coef: unsafe.Pointer(coef), ldb: 4 * ldb, lds: 4 * rowsSegment, ldc: 4 * ldc, alpha: alpha}
	strideI, strideP := lda, 1
	if transA {
		strideI, strideP = 1, lda
	}
	group := m
	if m > t.thinRows {
		group = t.rowsRows
	}
	for j := 0; j < n; j += rowsSegment {
		arg.n = min(rowsSegment, n-j)
		for i0 := 0; i0 < m; i0 += group {
			i1 := min(i0+group, m)
			arg.beta = beta
			for p0 := 0; p0 < k; p0 += GemmBlock {
				p1 := min(p0+GemmBlock, k)
				for p := p0; p < p1; p += terms {
					count := min(terms, p1-p)
					arg.b = ptr(b, p*ldb+j)
					arg.first, arg.last = 0, 0
					if p == p0 {
						arg.first = 1
					}
					if p+count == p1 {
						arg.last = 1
					}
					for i := i0; i < i1; i += t.rowsRows {
						rows := min(t.rowsRows, i1-i)
						for q := range count {
							for r := range rows {
								coef[q*rows+r] = a[(i+r)*strideI+(p+q)*strideP]
							}
						}
						arg.sum = ptr(sums, (i-i0)*rowsSegment)
						arg.c = ptr(c, i*ldc+j)
						t.rows(rows, count, arg)
					}
				}
				arg.beta = 1
			}
		}
	}
}

func gemm32(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	switch vector {
	case vector512:
		tiling512.gemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	case vector256:
		tiling256.gemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	default:
		gemmGo(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	}
}

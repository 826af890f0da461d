package main

import "fmt"

// Layout of the argument structs of gemm_amd64.go.
const (
	tileA, tileB, tileC, tileKC, tileLdc, tileAlpha, tileBeta, tileCols, tileLdb = 0, 8, 16, 24, 32, 40, 44, 48, 56

	packDst, packStep, packSrc, packLd, packCount, packKC = 0, 8, 16, 24, 32, 40

	rowsCoef, rowsB, rowsLdb, rowsSum, rowsLds, rowsC, rowsLdc, rowsN, rowsAlpha, rowsBeta, rowsFirst, rowsLast = 0, 8, 16, 24, 32, 40, 48, 56, 64, 68, 72, 80
)

// The largest tiles of C that fit the registers, in rows; their width is two registers.
const (
	tileRows512, tileRows256 = 14, 6
	thinRows512, thinRows256 = 8, 6
	rowsRows512, rowsRows256 = 4, 2
)

func gemmFile() []byte {
	f := newFile(`
Matrix products for Gemm. A tile is a few rows by two registers of C, whose sums stay in registers while it runs
along k; panels are copies of a few rows of A, or columns of B, in the order of k.`)
	maskTable(f)
	for _, s := range []isa{avx512, avx2} {
		top, thin, rows := tileRows512, thinRows512, rowsRows512
		if s.lanes == 8 {
			top, thin, rows = tileRows256, thinRows256, rowsRows256
		}
		for vecs := 1; vecs <= 2; vecs++ {
			for mr := 1; mr <= top; mr++ {
				gemmTile(f, s, mr, vecs)
			}
		}
		packLines(f, s)
		packColumns(f, s)
		for mr := 1; mr <= thin; mr++ {
			gemmThin(f, s, mr)
		}
		for mr := 1; mr <= rows; mr++ {
			for kp := 1; kp <= 4; kp++ {
				gemmRows(f, s, mr, kp)
			}
		}
	}
	return f.Bytes()
}

// maskTable writes the table that masks of AVX2 are read from.
func maskTable(f *asm) {
	f.WriteString(`
// Loading 8 values from maskTable+4*(16-n) gives the mask of the first min(n, 8) lanes, for n up to 16.
DATA maskTable<>+0(SB)/8, $-1
DATA maskTable<>+8(SB)/8, $-1
DATA maskTable<>+16(SB)/8, $-1
DATA maskTable<>+24(SB)/8, $-1
DATA maskTable<>+32(SB)/8, $-1
DATA maskTable<>+40(SB)/8, $-1
DATA maskTable<>+48(SB)/8, $-1
DATA maskTable<>+56(SB)/8, $-1
GLOBL maskTable<>(SB), RODATA|NOPTR, $128
`)
}

// masks prepares the masks of the first vecs*lanes of n columns: in K1 and K2, or as CX pointing to them. The register
// n and CX are lost.
func (s isa) masks(f *asm, n string, vecs int) {
	if s.lanes == 16 {
		f.op("MOVQ", n, "CX")
		f.op("MOVQ", "$-1", n)
		f.op("SHLQ", "CX", n)
		f.op("NOTQ", n)
		f.op("KMOVW", n, "K1")
		if vecs == 2 {
			f.op("SHRQ", "$16", n)
			f.op("KMOVW", n, "K2")
		}
		return
	}
	f.op("LEAQ", "maskTable<>+64(SB)", "CX")
	f.op("SHLQ", "$2", n)
	f.op("SUBQ", n, "CX")
}

// mask returns what load and store take as the mask of register v of a row: K1 or K2, or the register that it loads
// from where masks made CX point.
func (s isa) mask(f *asm, v, reg int) int {
	if s.lanes == 16 {
		return v + 1
	}
	f.op("VMOVUPS", at(32*v, "CX"), s.reg(reg))
	return reg
}

// load reads a register, masked where mask is not negative: by K(mask+1), or by vector register mask.
func (s isa) load(f *asm, mem string, reg, mask int) {
	switch {
	case mask < 0:
		f.op("VMOVUPS", mem, s.reg(reg))
	case s.lanes == 16:
		f.op("VMOVUPS.Z", mem, fmt.Sprintf("K%d", mask), s.reg(reg))
	default:
		f.op("VMASKMOVPS", mem, s.reg(mask), s.reg(reg))
	}
}

// store writes a register, masked as load is.
func (s isa) store(f *asm, reg int, mem string, mask int) {
	switch {
	case mask < 0:
		f.op("VMOVUPS", s.reg(reg), mem)
	case s.lanes == 16:
		f.op("VMOVUPS", s.reg(reg), fmt.Sprintf("K%d", mask), mem)
	default:
		f.op("VMASKMOVPS", s.reg(reg), s.reg(mask), mem)
	}
}

// gemmTile writes the tile of mr rows and vecs registers of columns: all of B's panel is two registers wide.
func gemmTile(f *asm, s isa, mr, vecs int) {
	f.text(fmt.Sprintf("gemmTile%dx%dx%d", s.lanes*32, mr, vecs), 8,
		fmt.Sprintf("%d rows by %d columns of C: C = beta*C + alpha*A*B over one panel of each.", mr, vecs*s.lanes))
	acc := func(r, v int) string { return s.reg(r*vecs + v) }
	b, temps := mr*vecs, []int{mr*vecs + vecs}
	for t := temps[0] + 1; t < s.regs && len(temps) < 4; t++ {
		temps = append(temps, t)
	}
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(tileA, "AX"), "SI")
	f.op("MOVQ", at(tileB, "AX"), "DI")
	f.op("MOVQ", at(tileKC, "AX"), "BX")
	f.op("MOVQ", at(tileC, "AX"), "DX")
	f.op("MOVQ", at(tileLdc, "AX"), "R8")
	for r := range mr * vecs {
		s.zero(f, r)
	}
	f.note("C will be wanted at the end.")
	f.op("MOVQ", "DX", "R9")
	for range mr {
		f.op("PREFETCHT0", "(R9)")
		f.op("PREFETCHT0", at(s.bytes()*vecs-1, "R9"))
		f.op("ADDQ", "R8", "R9")
	}
	step := func(k int) {
		for v := range vecs {
			f.op("VMOVUPS", at(k*2*s.bytes()+v*s.bytes(), "DI"), s.reg(b+v))
		}
		for r := range mr {
			t := s.reg(temps[r%len(temps)])
			f.op("VBROADCASTSS", at(4*(k*mr+r), "SI"), t)
			for v := range vecs {
				f.op("VFMADD231PS", s.reg(b+v), t, acc(r, v))
			}
		}
	}
	const unroll = 4
	f.op("SUBQ", imm(unroll), "BX")
	f.op("JLT", "rest")
	f.label("loop")
	for k := range unroll {
		step(k)
	}
	f.op("ADDQ", imm(4*mr*unroll), "SI")
	f.op("ADDQ", imm(2*s.bytes()*unroll), "DI")
	f.op("SUBQ", imm(unroll), "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", imm(unroll), "BX")
	f.op("JEQ", "finish")
	f.label("one")
	step(0)
	f.op("ADDQ", imm(4*mr), "SI")
	f.op("ADDQ", imm(2*s.bytes()), "DI")
	f.op("DECQ", "BX")
	f.op("JNE", "one")

	f.label("finish")
	alpha, beta, free, mask := b, b+1, b+2, b+3
	f.op("VBROADCASTSS", at(tileAlpha, "AX"), s.reg(alpha))
	f.op("VBROADCASTSS", at(tileBeta, "AX"), s.reg(beta))
	f.op("MOVQ", at(tileCols, "AX"), "R9")
	f.op("MOVL", at(tileBeta, "AX"), "R10")
	f.op("SHLL", "$1", "R10")
	f.op("CMPQ", "R9", imm(vecs*s.lanes))
	f.op("JLT", "edge")
	for _, masked := range []bool{false, true} {
		if masked {
			f.label("edge")
			s.masks(f, "R9", vecs)
		}
		over := f.fresh("overwrite")
		f.op("TESTL", "R10", "R10")
		f.op("JEQ", over)
		for _, read := range []bool{true, false} {
			if !read {
				f.label(over)
			}
			for v := range vecs {
				m := -1
				if masked {
					m = s.mask(f, v, mask)
				}
				f.op("MOVQ", "DX", "R11")
				for r := range mr {
					mem := at(v*s.bytes(), "R11")
					if read {
						s.load(f, mem, free, m)
						f.op("VMULPS", s.reg(beta), s.reg(free), s.reg(free))
						f.op("VFMADD231PS", s.reg(alpha), acc(r, v), s.reg(free))
						s.store(f, free, mem, m)
					} else {
						f.op("VMULPS", s.reg(alpha), acc(r, v), acc(r, v))
						s.store(f, r*vecs+v, mem, m)
					}
					if r < mr-1 {
						f.op("ADDQ", "R8", "R11")
					}
				}
			}
			f.ret()
		}
	}
}

// packLines writes the function that copies lines of a matrix, whose values lie next to each other across the panel:
// for each p, count values from src + p*ld to dst + p*step. It always writes two registers, so the panel that follows
// must be written later, and the last one needs that much room behind it.
func packLines(f *asm, s isa) {
	f.text(fmt.Sprintf("packLines%d", s.lanes*32), 8, "Copies count values for each p of kc; writes two registers each time.")
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(packDst, "AX"), "DI")
	f.op("MOVQ", at(packStep, "AX"), "R8")
	f.op("MOVQ", at(packSrc, "AX"), "SI")
	f.op("MOVQ", at(packLd, "AX"), "R9")
	f.op("MOVQ", at(packCount, "AX"), "R10")
	f.op("MOVQ", at(packKC, "AX"), "BX")
	f.op("CMPQ", "R10", imm(2*s.lanes))
	f.op("JLT", "edge")
	for _, masked := range []bool{false, true} {
		m1, m2 := -1, -1
		if masked {
			f.label("edge")
			s.masks(f, "R10", 2)
			m1, m2 = s.mask(f, 0, 2), s.mask(f, 1, 3)
		}
		loop := f.fresh("loop")
		f.label(loop)
		s.load(f, "(SI)", 0, m1)
		s.load(f, at(s.bytes(), "SI"), 1, m2)
		f.op("VMOVUPS", s.reg(0), "(DI)")
		f.op("VMOVUPS", s.reg(1), at(s.bytes(), "DI"))
		f.op("ADDQ", "R9", "SI")
		f.op("ADDQ", "R8", "DI")
		f.op("DECQ", "BX")
		f.op("JNE", loop)
		f.ret()
	}
}

// rowPointers computes pointers to rows 0, 4, 8, … of a matrix at SI with R9 bytes from row to row, in R10 and the
// registers that rowBases names, and three times R9 in DX.
var rowBases = []string{"SI", "R10", "R11", "R12"}

func (s isa) rowPointers(f *asm) {
	f.op("LEAQ", "(R9)(R9*2)", "DX")
	for i := 1; i < s.lanes/4; i++ {
		f.op("LEAQ", atIndex(0, rowBases[i-1], "R9", 4), rowBases[i])
	}
}

// row writes the memory operand of row i.
func row(i int) string {
	base := rowBases[i/4]
	switch i % 4 {
	case 0:
		return "(" + base + ")"
	case 3:
		return atIndex(0, base, "DX", 1)
	}
	return atIndex(0, base, "R9", i%4)
}

// packColumns writes the function that copies lines of a matrix into a panel that they cross: for each p of kc and
// each of count lines l, the value at src + l*ld + 4*p to dst + p*step + 4*l. It handles as many lines as a register
// has lanes, and writes a whole register for each p, zeros beyond count.
func packColumns(f *asm, s isa) {
	n := s.lanes
	f.text(fmt.Sprintf("packColumns%d", n*32), 8, fmt.Sprintf("Transposes up to %d rows of kc values; writes one register for each value.", n))
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(packDst, "AX"), "DI")
	f.op("MOVQ", at(packStep, "AX"), "R8")
	f.op("MOVQ", at(packSrc, "AX"), "SI")
	f.op("MOVQ", at(packLd, "AX"), "R9")
	f.op("MOVQ", at(packCount, "AX"), "R13")
	f.op("MOVQ", at(packKC, "AX"), "BX")
	s.rowPointers(f)
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	block := func(masked, few bool) {
		m := -1
		if masked {
			m = s.mask(f, 0, 15)
		}
		if few {
			for i := range n {
				s.zero(f, i)
			}
		}
		loaded := f.fresh("loaded")
		for i := range n {
			if few && i > 0 {
				f.op("CMPQ", "R13", imm(i))
				f.op("JEQ", loaded)
			}
			s.load(f, row(i), i, m)
		}
		if few {
			f.label(loaded)
		}
		columns, _ := s.transpose(f, rows, n)
		done := f.fresh("done")
		for p, c := range columns {
			if masked && p > 0 {
				f.op("CMPQ", "BX", imm(p))
				f.op("JEQ", done)
			}
			f.op("VMOVUPS", s.reg(c), "(DI)")
			f.op("ADDQ", "R8", "DI")
		}
		if masked {
			f.label(done)
			f.ret()
			return
		}
		for i := range n / 4 {
			f.op("ADDQ", imm(s.bytes()), rowBases[i])
		}
	}
	f.op("CMPQ", "R13", imm(n))
	f.op("JLT", "few")
	for _, few := range []bool{false, true} {
		loop, rest, end := f.fresh("loop"), f.fresh("rest"), f.fresh("end")
		if few {
			f.label("few")
		}
		f.op("SUBQ", imm(n), "BX")
		f.op("JLT", rest)
		f.label(loop)
		block(false, few)
		f.op("SUBQ", imm(n), "BX")
		f.op("JGE", loop)
		f.label(rest)
		f.op("ADDQ", imm(n), "BX")
		f.op("JEQ", end)
		f.op("MOVQ", "BX", "AX")
		s.masks(f, "AX", 1)
		block(true, few)
		f.label(end)
		f.ret()
	}
}

// gemmThin writes the product of mr rows of A, packed as for a tile, and one register of columns of C where B is
// transposed, and read only once: as many rows of B as a register has lanes, kc values of each.
func gemmThin(f *asm, s isa, mr int) {
	n := s.lanes
	f.text(fmt.Sprintf("gemmThin%dx%d", n*32, mr), 8,
		fmt.Sprintf("%d rows by %d columns of C = beta*C + alpha*A*B, B transposed and not packed.", mr, n))
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(tileA, "AX"), "DI")
	f.op("MOVQ", at(tileB, "AX"), "SI")
	f.op("MOVQ", at(tileLdb, "AX"), "R9")
	f.op("MOVQ", at(tileKC, "AX"), "BX")
	s.rowPointers(f)
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	acc := func(r int) int { return n + 1 + r }
	for r := range mr {
		s.zero(f, acc(r))
	}
	block := func(masked bool) {
		m := -1
		if masked {
			m = s.mask(f, 0, n)
		}
		for i := range n {
			s.load(f, row(i), i, m)
			if !masked {
				f.op("PREFETCHT0", prefetched(row(i)))
			}
		}
		columns, left := s.transpose(f, rows, n)
		for p, c := range columns {
			if masked && p > 0 {
				f.op("CMPQ", "BX", imm(p))
				f.op("JEQ", "finish")
			}
			for r := range mr {
				mem := at(4*(p*mr+r), "DI")
				if n == 16 {
					f.op("VFMADD231PS.BCST", mem, s.reg(c), s.reg(acc(r)))
				} else {
					f.op("VBROADCASTSS", mem, s.reg(left))
					f.op("VFMADD231PS", s.reg(left), s.reg(c), s.reg(acc(r)))
				}
			}
		}
		if masked {
			return
		}
		for i := range n / 4 {
			f.op("ADDQ", imm(s.bytes()), rowBases[i])
		}
		f.op("ADDQ", imm(4*mr*n), "DI")
	}
	f.op("SUBQ", imm(n), "BX")
	f.op("JLT", "rest")
	f.label("loop")
	block(false)
	f.op("SUBQ", imm(n), "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", imm(n), "BX")
	f.op("JEQ", "finish")
	f.op("MOVQ", "BX", "R8")
	s.masks(f, "R8", 1)
	block(true)
	f.label("finish")
	f.op("MOVQ", at(tileC, "AX"), "DX")
	f.op("MOVQ", at(tileLdc, "AX"), "R8")
	f.op("VBROADCASTSS", at(tileAlpha, "AX"), s.reg(0))
	f.op("VBROADCASTSS", at(tileBeta, "AX"), s.reg(1))
	f.op("MOVL", at(tileBeta, "AX"), "R10")
	f.op("SHLL", "$1", "R10")
	f.op("JEQ", "overwrite")
	for r := range mr {
		f.op("VMULPS", "(DX)", s.reg(1), s.reg(2))
		f.op("VFMADD231PS", s.reg(0), s.reg(acc(r)), s.reg(2))
		f.op("VMOVUPS", s.reg(2), "(DX)")
		f.op("ADDQ", "R8", "DX")
	}
	f.ret()
	f.label("overwrite")
	for r := range mr {
		f.op("VMULPS", s.reg(0), s.reg(acc(r)), s.reg(2))
		f.op("VMOVUPS", s.reg(2), "(DX)")
		f.op("ADDQ", "R8", "DX")
	}
	f.ret()
}

// prefetched is a row's memory operand some lines further on.
func prefetched(mem string) string { return "512" + mem }

// gemmRows writes the function that adds kp rows of B, each times a coefficient, to mr rows of sums, n columns of them
// all. It reads the sums from memory unless first is set, and writes them back there unless last is set, which makes
// it finish C = beta*C + alpha*sum.
func gemmRows(f *asm, s isa, mr, kp int) {
	f.text(fmt.Sprintf("gemmRows%dx%dx%d", s.lanes*32, mr, kp), 8, fmt.Sprintf("Adds %d rows of B to %d rows of sums.", kp, mr))
	coef := func(r, p int) int { return p*mr + r }
	b := mr * kp
	sum := func(r int) int { return b + 1 + r }
	free := sum(mr)
	alpha, beta, mask := s.regs-1, s.regs-2, s.regs-3
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(rowsCoef, "AX"), "SI")
	for i := range mr * kp {
		f.op("VBROADCASTSS", at(4*i, "SI"), s.reg(i))
	}
	f.op("VBROADCASTSS", at(rowsAlpha, "AX"), s.reg(alpha))
	f.op("VBROADCASTSS", at(rowsBeta, "AX"), s.reg(beta))
	bBases := []string{"SI", "DI", "R8", "R9"}
	f.op("MOVQ", at(rowsB, "AX"), bBases[0])
	f.op("MOVQ", at(rowsLdb, "AX"), "DX")
	for p := 1; p < kp; p++ {
		f.op("LEAQ", atIndex(0, bBases[p-1], "DX", 1), bBases[p])
	}
	// CX counts the bytes done, BX the columns to go.
	f.op("MOVQ", at(rowsN, "AX"), "BX")
	f.op("XORQ", "CX", "CX")
	sums := []string{"R10", "R11"} // base of the sums, distance of their rows
	f.op("MOVQ", at(rowsSum, "AX"), sums[0])
	f.op("MOVQ", at(rowsLds, "AX"), sums[1])
	f.op("MOVQ", at(rowsC, "AX"), "R12")
	body := func(masked bool) {
		m := -1
		if masked {
			if m = mask; s.lanes == 16 {
				m = 1
			}
		}
		// next moves R13 from row to row.
		start := func(base string) { f.op("LEAQ", atIndex(0, base, "CX", 1), "R13") }
		init, add, back := f.fresh("init"), f.fresh("add"), f.fresh("back")
		over, done := f.fresh("overwrite"), f.fresh("done")
		f.op("CMPQ", at(rowsFirst, "AX"), "$0")
		f.op("JNE", init)
		start(sums[0])
		for r := range mr {
			s.load(f, "(R13)", sum(r), m)
			if r < mr-1 {
				f.op("ADDQ", sums[1], "R13")
			}
		}
		f.op("JMP", add)
		f.label(init)
		for r := range mr {
			s.zero(f, sum(r))
		}
		f.label(add)
		for p := range kp {
			s.load(f, atIndex(0, bBases[p], "CX", 1), b, m)
			for r := range mr {
				f.op("VFMADD231PS", s.reg(b), s.reg(coef(r, p)), s.reg(sum(r)))
			}
		}
		f.op("CMPQ", at(rowsLast, "AX"), "$0")
		f.op("JEQ", back)
		start("R12")
		f.op("MOVL", at(rowsBeta, "AX"), "DX")
		f.op("SHLL", "$1", "DX")
		f.op("MOVQ", at(rowsLdc, "AX"), "DX")
		f.op("JEQ", over)
		for r := range mr {
			s.load(f, "(R13)", free, m)
			f.op("VMULPS", s.reg(beta), s.reg(free), s.reg(free))
			f.op("VFMADD231PS", s.reg(alpha), s.reg(sum(r)), s.reg(free))
			s.store(f, free, "(R13)", m)
			if r < mr-1 {
				f.op("ADDQ", "DX", "R13")
			}
		}
		f.op("JMP", done)
		f.label(over)
		for r := range mr {
			f.op("VMULPS", s.reg(alpha), s.reg(sum(r)), s.reg(sum(r)))
			s.store(f, sum(r), "(R13)", m)
			if r < mr-1 {
				f.op("ADDQ", "DX", "R13")
			}
		}
		f.op("JMP", done)
		f.label(back)
		start(sums[0])
		for r := range mr {
			s.store(f, sum(r), "(R13)", m)
			if r < mr-1 {
				f.op("ADDQ", sums[1], "R13")
			}
		}
		f.label(done)
	}
	f.op("SUBQ", imm(s.lanes), "BX")
	f.op("JLT", "rest")
	f.label("loop")
	body(false)
	f.op("ADDQ", imm(s.bytes()), "CX")
	f.op("SUBQ", imm(s.lanes), "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", imm(s.lanes), "BX")
	f.op("JEQ", "end")
	f.op("MOVQ", "CX", "DX")
	s.masks(f, "BX", 1)
	s.mask(f, 0, mask)
	f.op("MOVQ", "DX", "CX")
	body(true)
	f.label("end")
	f.ret()
}

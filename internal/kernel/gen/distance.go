package main

import "fmt"

// A register of 16 values is one zmm or two ymm: halves is how many registers make 16 lanes.
func (s isa) halves() int { return 16 / s.lanes }

// distanceFile holds dot products and squared distances. However many rows are asked for, the sum of a pair runs in 16
// lanes (value i in lane i%16), each in rising order; then lane l takes lane l+8, then l+4, l+2, l+1.
func distanceFile() []byte {
	f := newFile(`
Dot products and squared distances. The sum of a pair of vectors runs in 16 lanes, value i in lane i%16, which are then
added as a tree: 8 apart, 4 apart, 2 apart, 1 apart. All functions here do the same operations in the same order.`)
	maskTable(f)
	f.WriteString(`
// The first value of each 128-bit lane.
DATA firsts<>+0(SB)/8, $0x0000000400000000
DATA firsts<>+8(SB)/8, $0x0000000c00000008
GLOBL firsts<>(SB), RODATA|NOPTR, $64
`)
	for _, s := range []isa{avx512, avx2} {
		for _, squared := range []bool{false, true} {
			distancePair(f, s, squared)
			distanceRows(f, s, squared, false)
		}
		distanceRows(f, s, true, true)
	}
	return f.Bytes()
}

func distanceName(squared bool) string {
	if squared {
		return "squaredL2"
	}
	return "dot"
}

// accumulate adds one step of a pair to register acc: q holds 8 or 16 values of one vector, mem or register x those of
// the other.
func (s isa) accumulate(f *asm, squared bool, q int, mem string, acc, free int) {
	if !squared {
		f.op("VFMADD231PS", mem, s.reg(q), s.reg(acc))
		return
	}
	f.op("VSUBPS", mem, s.reg(q), s.reg(free))
	f.op("VFMADD231PS", s.reg(free), s.reg(free), s.reg(acc))
}

// distancePair writes the function for one pair.
func distancePair(f *asm, s isa, squared bool) {
	name := distanceName(squared)
	f.text(fmt.Sprintf("%s%d", name, 32*s.lanes), 28, "The "+name+" of n values of a and b.")
	f.op("MOVQ", "a+0(FP)", "SI")
	f.op("MOVQ", "b+8(FP)", "DI")
	f.op("MOVQ", "n+16(FP)", "BX")
	for h := range s.halves() {
		s.zero(f, h)
	}
	f.op("SUBQ", "$16", "BX")
	f.op("JLT", "rest")
	f.label("loop")
	for h := range s.halves() {
		f.op("VMOVUPS", at(32*h, "SI"), s.reg(2+h))
		s.accumulate(f, squared, 2+h, at(32*h, "DI"), h, 4+h)
	}
	f.op("ADDQ", "$64", "SI")
	f.op("ADDQ", "$64", "DI")
	f.op("SUBQ", "$16", "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", "$16", "BX")
	f.op("JEQ", "sum")
	s.masks(f, "BX", 1)
	for h := range s.halves() {
		m := s.mask(f, h, 6)
		s.load(f, at(32*h, "SI"), 2+h, m)
		s.load(f, at(32*h, "DI"), 4+h, m)
		s.accumulate(f, squared, 2+h, s.reg(4+h), h, 4+h)
	}
	f.label("sum")
	s.sumLanes(f)
	f.op("VMOVSS", "X0", "ret+24(FP)")
	f.ret()
}

// sumLanes adds the 16 lanes of register 0, or 0 and 1, into the first; register 1 is lost.
func (s isa) sumLanes(f *asm) {
	if s.lanes == 16 {
		f.op("VEXTRACTF64X4", "$1", "Z0", "Y1")
	}
	f.op("VADDPS", "Y1", "Y0", "Y0")
	f.op("VEXTRACTF128", "$1", "Y0", "X1")
	f.op("VADDPS", "X1", "X0", "X0")
	f.op("VPERMILPS", "$0x4e", "X0", "X1")
	f.op("VADDPS", "X1", "X0", "X0")
	f.op("VPERMILPS", "$0xb1", "X0", "X1")
	f.op("VADDSS", "X1", "X0", "X0")
}

// distanceRows writes the function for one vector and many: rows that follow each other or, with each set, pointers.
// It takes four rows at a time; where fewer are left, the first of them stands in for the missing.
func distanceRows(f *asm, s isa, squared, each bool) {
	name := distanceName(squared) + "Rows"
	if each {
		name = distanceName(squared) + "Each"
	}
	f.text(fmt.Sprintf("%s%d", name, 32*s.lanes), 40, "Compares q with n rows of dim values.")
	f.op("MOVQ", "q+0(FP)", "SI")
	f.op("MOVQ", "rows+8(FP)", "AX")
	f.op("MOVQ", "out+16(FP)", "DI")
	f.op("MOVQ", "dim+24(FP)", "R12")
	f.op("MOVQ", "n+32(FP)", "R13")
	if s.lanes == 16 {
		f.op("VMOVDQU32", "firsts<>(SB)", "Z20")
	}
	f.note("The masks of the values after the last 16.")
	f.op("MOVQ", "R12", "BX")
	f.op("ANDQ", "$15", "BX")
	s.masks(f, "BX", 1)
	if s.lanes == 8 {
		f.op("MOVQ", "CX", "DX") // the table's place; CX becomes an offset
	}
	pointers := []string{"R8", "R9", "R10", "R11"}
	halves := s.halves()
	acc := func(r, h int) int { return r*halves + h }
	q, free := 4*halves, 4*halves+halves // free: four registers where there are enough
	f.label("group")
	f.op("TESTQ", "R13", "R13")
	f.op("JLE", "end")
	if each {
		f.op("MOVQ", "(AX)", "R8")
		for r := 1; r < 4; r++ {
			f.op("MOVQ", "R8", pointers[r])
		}
		few := f.fresh("few")
		f.op("CMPQ", "R13", "$4")
		f.op("JLT", few)
		for r := 1; r < 4; r++ {
			f.op("MOVQ", at(8*r, "AX"), pointers[r])
		}
		f.label(few)
		for r := 1; r < 3; r++ {
			next := f.fresh("next")
			f.op("CMPQ", "R13", imm(r+1))
			f.op("JLT", next)
			f.op("MOVQ", at(8*r, "AX"), pointers[r])
			f.label(next)
		}
	} else {
		f.op("MOVQ", "AX", "R8")
		for r := 1; r < 4; r++ {
			f.op("LEAQ", atIndex(0, pointers[r-1], "R12", 4), "BX")
			f.op("CMPQ", "R13", imm(r+1))
			f.op("MOVQ", pointers[r-1], pointers[r])
			f.op("CMOVQGE", "BX", pointers[r])
		}
		f.op("LEAQ", atIndex(0, pointers[3], "R12", 4), "AX")
	}
	for r := range 4 {
		for h := range halves {
			s.zero(f, acc(r, h))
		}
	}
	f.op("XORQ", "CX", "CX")
	f.op("MOVQ", "R12", "BX")
	f.op("SUBQ", "$16", "BX")
	f.op("JLT", "rest")
	f.label("loop")
	for h := range halves {
		f.op("VMOVUPS", atIndex(32*h, "SI", "CX", 1), s.reg(q+h))
	}
	for r := range 4 {
		for h := range halves {
			s.accumulate(f, squared, q+h, atIndex(32*h, pointers[r], "CX", 1), acc(r, h), free+(r*halves+h)%4)
		}
	}
	f.op("ADDQ", "$64", "CX")
	f.op("SUBQ", "$16", "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", "$16", "BX")
	f.op("JEQ", "sum")
	for h := range halves {
		m := 1
		if s.lanes == 8 {
			m = 15
			f.op("VMOVUPS", at(32*h, "DX"), s.reg(m))
		}
		s.load(f, atIndex(32*h, "SI", "CX", 1), q+h, m)
		for r := range 4 {
			s.load(f, atIndex(32*h, pointers[r], "CX", 1), free, m)
			s.accumulate(f, squared, q+h, s.reg(free), acc(r, h), free)
		}
	}
	f.label("sum")
	if s.lanes == 16 {
		for r := 0; r < 4; r += 2 {
			f.op("VSHUFF32X4", "$0x44", s.reg(r+1), s.reg(r), s.reg(8+r))
			f.op("VSHUFF32X4", "$0xee", s.reg(r+1), s.reg(r), s.reg(9+r))
			f.op("VADDPS", s.reg(9+r), s.reg(8+r), s.reg(8+r))
		}
		f.op("VSHUFF32X4", "$0x88", "Z10", "Z8", "Z0")
		f.op("VSHUFF32X4", "$0xdd", "Z10", "Z8", "Z1")
		f.op("VADDPS", "Z1", "Z0", "Z0")
		f.op("VPERMILPS", "$0x4e", "Z0", "Z1")
		f.op("VADDPS", "Z1", "Z0", "Z0")
		f.op("VPERMILPS", "$0xb1", "Z0", "Z1")
		f.op("VADDPS", "Z1", "Z0", "Z0")
		f.op("VPERMPS", "Z0", "Z20", "Z0")
	} else {
		for r := range 4 {
			f.op("VADDPS", s.reg(acc(r, 1)), s.reg(acc(r, 0)), s.reg(r))
		}
		for r := 0; r < 4; r += 2 {
			f.op("VPERM2F128", "$0x20", s.reg(r+1), s.reg(r), s.reg(8+r))
			f.op("VPERM2F128", "$0x31", s.reg(r+1), s.reg(r), s.reg(9+r))
			f.op("VADDPS", s.reg(9+r), s.reg(8+r), s.reg(8+r))
		}
		f.note("Y8: rows 0 and 1, Y10: rows 2 and 3, four values each.")
		f.op("VUNPCKLPD", "Y10", "Y8", "Y0")
		f.op("VUNPCKHPD", "Y10", "Y8", "Y1")
		f.op("VADDPS", "Y1", "Y0", "Y0")
		f.op("VPERMILPS", "$0xb1", "Y0", "Y1")
		f.op("VADDPS", "Y1", "Y0", "Y0")
		f.note("Values 0, 2 | 4, 6: rows 0, 2 | 1, 3.")
		f.op("VEXTRACTF128", "$1", "Y0", "X1")
		f.op("VUNPCKLPS", "X1", "X0", "X2")
		f.op("VUNPCKHPS", "X1", "X0", "X3")
		f.op("VMOVLHPS", "X3", "X2", "X0")
	}
	f.op("SUBQ", "$4", "R13")
	f.op("JLT", "last")
	f.op("VMOVUPS", "X0", "(DI)")
	f.op("ADDQ", "$16", "DI")
	if each {
		f.op("ADDQ", "$32", "AX")
	}
	f.op("JMP", "group")
	f.label("last")
	f.op("VMOVSS", "X0", "(DI)")
	f.op("CMPQ", "R13", "$-3")
	f.op("JEQ", "end")
	f.op("VEXTRACTPS", "$1", "X0", "4(DI)")
	f.op("CMPQ", "R13", "$-2")
	f.op("JEQ", "end")
	f.op("VEXTRACTPS", "$2", "X0", "8(DI)")
	f.label("end")
	f.ret()
}

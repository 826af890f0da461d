package main

import "fmt"

// codesFile holds squared distances of vectors of bytes. They are whole numbers, so that every order of summation gives
// the same.
func codesFile() []byte {
	f := newFile(`
Squared distances of vectors of unsigned bytes. The absolute differences are widened to 16 bits, multiplied with themselves
and added in pairs; sums are modulo 2^32.`)
	f.WriteString(`
// The first value of each 128-bit lane.
DATA codeFirsts<>+0(SB)/8, $0x0000000400000000
DATA codeFirsts<>+8(SB)/8, $0x0000000c00000008
GLOBL codeFirsts<>(SB), RODATA|NOPTR, $64
`)
	for _, s := range []isa{avx512, avx2} {
		codesEach(f, s)
	}
	return f.Bytes()
}

// wide returns the name that an instruction on whole registers, without regard to lanes, has for 512 bits.
func (s isa) wide(narrow, wide string) string {
	if s.lanes == 16 {
		return wide
	}
	return narrow
}

// codesEach writes the function for one vector and rows given by pointers, each a multiple of 64 bytes long. It takes four
// rows at a time; where fewer are left, the first of them stands in for the missing.
func codesEach(f *asm, s isa) {
	f.text(fmt.Sprintf("squaredL2Codes%d", 32*s.lanes), 40, "Compares q with n rows of width bytes; n and width are above 0.")
	f.op("MOVQ", "q+0(FP)", "SI")
	f.op("MOVQ", "rows+8(FP)", "AX")
	f.op("MOVQ", "out+16(FP)", "DI")
	f.op("MOVQ", "width+24(FP)", "R12")
	f.op("MOVQ", "n+32(FP)", "R13")
	const acc, q, low, high, zero = 0, 4, 6, 7, 15
	firsts := 14
	move := s.wide("VMOVDQU", "VMOVDQU64")
	if s.lanes == 16 {
		f.op("VMOVDQU64", "codeFirsts<>(SB)", s.reg(firsts))
	}
	f.op(s.wide("VPXOR", "VPXORQ"), s.reg(zero), s.reg(zero), s.reg(zero))
	pointers := []string{"R8", "R9", "R10", "R11"}
	f.label("group")
	f.op("MOVQ", "(AX)", "R8")
	for r := 1; r < 4; r++ {
		f.op("MOVQ", "R8", pointers[r])
	}
	for r := 1; r < 4; r++ {
		f.op("CMPQ", "R13", imm(r+1))
		f.op("JLT", "load")
		f.op("MOVQ", at(8*r, "AX"), pointers[r])
	}
	f.label("load")
	for r := range 4 {
		f.op(s.wide("VPXOR", "VPXORQ"), s.reg(acc+r), s.reg(acc+r), s.reg(acc+r))
	}
	f.op("XORQ", "CX", "CX")
	f.label("loop")
	for h := range 64 / s.bytes() {
		f.op(move, atIndex(s.bytes()*h, "SI", "CX", 1), s.reg(q))
		for r := range 4 {
			f.op(move, atIndex(s.bytes()*h, pointers[r], "CX", 1), s.reg(q+1))
			f.op("VPSUBUSB", s.reg(q+1), s.reg(q), s.reg(low))
			f.op("VPSUBUSB", s.reg(q), s.reg(q+1), s.reg(high))
			f.op(s.wide("VPOR", "VPORQ"), s.reg(low), s.reg(high), s.reg(high))
			f.op("VPUNPCKLBW", s.reg(zero), s.reg(high), s.reg(low))
			f.op("VPUNPCKHBW", s.reg(zero), s.reg(high), s.reg(high))
			f.op("VPMADDWD", s.reg(low), s.reg(low), s.reg(low))
			f.op("VPMADDWD", s.reg(high), s.reg(high), s.reg(high))
			f.op("VPADDD", s.reg(low), s.reg(acc+r), s.reg(acc+r))
			f.op("VPADDD", s.reg(high), s.reg(acc+r), s.reg(acc+r))
		}
	}
	f.op("ADDQ", "$64", "CX")
	f.op("CMPQ", "CX", "R12")
	f.op("JLT", "loop")
	if s.lanes == 16 {
		for r := 0; r < 4; r += 2 {
			f.op("VSHUFI32X4", "$0x44", s.reg(r+1), s.reg(r), s.reg(8+r))
			f.op("VSHUFI32X4", "$0xee", s.reg(r+1), s.reg(r), s.reg(9+r))
			f.op("VPADDD", s.reg(9+r), s.reg(8+r), s.reg(8+r))
		}
		f.op("VSHUFI32X4", "$0x88", "Z10", "Z8", "Z0")
		f.op("VSHUFI32X4", "$0xdd", "Z10", "Z8", "Z1")
	} else {
		for r := 0; r < 4; r += 2 {
			f.op("VPERM2I128", "$0x20", s.reg(r+1), s.reg(r), s.reg(8+r))
			f.op("VPERM2I128", "$0x31", s.reg(r+1), s.reg(r), s.reg(9+r))
			f.op("VPADDD", s.reg(9+r), s.reg(8+r), s.reg(8+r))
		}
		f.note("Y8: rows 0 and 1, Y10: rows 2 and 3, four values each.")
		f.op("VPUNPCKLQDQ", "Y10", "Y8", "Y0")
		f.op("VPUNPCKHQDQ", "Y10", "Y8", "Y1")
	}
	if s.lanes == 16 {
		f.op("VPADDD", "Z1", "Z0", "Z0")
		f.op("VPSHUFD", "$0x4e", "Z0", "Z1")
		f.op("VPADDD", "Z1", "Z0", "Z0")
		f.op("VPSHUFD", "$0xb1", "Z0", "Z1")
		f.op("VPADDD", "Z1", "Z0", "Z0")
		f.op("VPERMD", "Z0", s.reg(firsts), "Z0")
	} else {
		f.op("VPADDD", "Y1", "Y0", "Y0")
		f.op("VPSHUFD", "$0xb1", "Y0", "Y1")
		f.op("VPADDD", "Y1", "Y0", "Y0")
		f.note("Values 0, 2 | 4, 6: rows 0, 2 | 1, 3.")
		f.op("VEXTRACTI128", "$1", "Y0", "X1")
		f.op("VPUNPCKLDQ", "X1", "X0", "X2")
		f.op("VPUNPCKHDQ", "X1", "X0", "X3")
		f.op("VPUNPCKLQDQ", "X3", "X2", "X0")
	}
	f.op("SUBQ", "$4", "R13")
	f.op("JLT", "last")
	f.op("VMOVDQU", "X0", "(DI)")
	f.op("ADDQ", "$16", "DI")
	f.op("ADDQ", "$32", "AX")
	f.op("TESTQ", "R13", "R13")
	f.op("JNE", "group")
	f.op("JMP", "end")
	f.label("last")
	f.op("VMOVD", "X0", "(DI)")
	f.op("CMPQ", "R13", "$-3")
	f.op("JEQ", "end")
	f.op("VPEXTRD", "$1", "X0", "4(DI)")
	f.op("CMPQ", "R13", "$-2")
	f.op("JEQ", "end")
	f.op("VPEXTRD", "$2", "X0", "8(DI)")
	f.label("end")
	f.ret()
}

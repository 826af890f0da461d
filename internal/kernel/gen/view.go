package main

import "fmt"

// Offsets within the structs of view.go and view_amd64.go.
const (
	stretchSource = 8 * iota
	stretchTarget
	stretchGroups
	stretchGroupCount
	stretchShare
	stretchRows
	stretchSourceRow
	stretchTargetRow
	stretchLanes

	groupTaps   = 16
	groupWeight = 48
	groupSize   = 112
)

const (
	paintSource = 8 * iota
	paintTarget
	paintTaps
	paintRows
	paintWidth
	paintSourcePlane
	paintTargetPlane
	paintColors

	tapWeight = 16
	tapSize   = 24
)

// viewFile holds what views of images are made by.
func viewFile() []byte {
	f := newFile(`
Views of images: bilinear resampling of bytes, changes of colour, dropout. A line of pixels is resized 16 columns at a
time: since a window has at most two pixels for each column, 8 columns need at most 16 neighbouring pixels, which one shuffle
of bytes puts in place.`)
	maskTable(f)
	f.WriteString(`
// The numbers 0 to 15.
DATA counting<>+0(SB)/8, $0x0000000100000000
DATA counting<>+8(SB)/8, $0x0000000300000002
DATA counting<>+16(SB)/8, $0x0000000500000004
DATA counting<>+24(SB)/8, $0x0000000700000006
DATA counting<>+32(SB)/8, $0x0000000900000008
DATA counting<>+40(SB)/8, $0x0000000b0000000a
DATA counting<>+48(SB)/8, $0x0000000d0000000c
DATA counting<>+56(SB)/8, $0x0000000f0000000e
GLOBL counting<>(SB), RODATA|NOPTR, $64
`)
	for _, s := range []isa{avx512, avx2} {
		viewStretch(f, s)
		viewPaint(f, s)
		viewDropout(f, s)
	}
	return f.Bytes()
}

// viewStretch writes the resizing of lines along x. For each 16 columns it walks down the rows, so that places and
// weights stay in registers.
func viewStretch(f *asm, s isa) {
	f.text(fmt.Sprintf("stretch%d", 32*s.lanes), 8, "Resizes lines of bytes along x and adds them up, weighted, in 16 lanes.")
	f.op("MOVQ", "arg+0(FP)", "AX")
	for _, l := range []struct {
		offset int
		to     string
	}{
		{stretchSource, "R8"}, {stretchTarget, "R9"}, {stretchGroups, "R10"}, {stretchGroupCount, "R11"},
		{stretchSourceRow, "DX"}, {stretchTargetRow, "BX"},
	} {
		f.op("MOVQ", at(l.offset, "AX"), l.to)
	}
	for h := range s.halves() {
		s.zero(f, h)
	}
	f.label("group")
	f.op("MOVQ", "(R10)", "SI")
	f.op("ADDQ", "R8", "SI")
	f.op("MOVQ", "8(R10)", "DI")
	f.op("ADDQ", "R8", "DI")
	f.op("VMOVDQU", at(groupTaps, "R10"), "Y2")
	for h := range s.halves() {
		f.op("VMOVUPS", at(groupWeight+32*h, "R10"), s.reg(4+h))
	}
	if s.lanes == 8 {
		f.op("VEXTRACTI128", "$1", "Y2", "X3")
	}
	f.op("MOVQ", "R9", "CX")
	f.op("MOVQ", at(stretchShare, "AX"), "R12")
	f.op("MOVQ", at(stretchRows, "AX"), "R13")
	f.label("row")
	if s.lanes == 16 {
		f.op("VMOVDQU", "(SI)", "X6")
		f.op("VINSERTI128", "$1", "(DI)", "Y6", "Y6")
		f.op("VPSHUFB", "Y2", "Y6", "Y6")
		f.op("VPERMQ", "$0xd8", "Y6", "Y6")
		f.op("VPMOVZXBD", "X6", "Z8")
		f.op("VEXTRACTI128", "$1", "Y6", "X6")
		f.op("VPMOVZXBD", "X6", "Z10")
	} else {
		for h, from := range []string{"(SI)", "(DI)"} {
			x := fmt.Sprintf("X%d", 6+h)
			f.op("VMOVDQU", from, x)
			f.op("VPSHUFB", fmt.Sprintf("X%d", 2+h), x, x)
			f.op("VPMOVZXBD", x, s.reg(8+h))
			f.op("VPSRLDQ", "$8", x, x)
			f.op("VPMOVZXBD", x, s.reg(10+h))
		}
	}
	for h := range s.halves() {
		f.op("VCVTDQ2PS", s.reg(8+h), s.reg(8+h))
		f.op("VCVTDQ2PS", s.reg(10+h), s.reg(10+h))
		f.op("VSUBPS", s.reg(8+h), s.reg(10+h), s.reg(10+h))
		f.op("VFMADD231PS", s.reg(4+h), s.reg(10+h), s.reg(8+h))
		f.op("VMOVUPS", s.reg(8+h), at(32*h, "CX"))
	}
	f.op("VBROADCASTSS", "(R12)", s.reg(12))
	for h := range s.halves() {
		f.op("VFMADD231PS", s.reg(12), s.reg(8+h), s.reg(h))
	}
	f.op("ADDQ", "DX", "SI")
	f.op("ADDQ", "DX", "DI")
	f.op("ADDQ", "BX", "CX")
	f.op("ADDQ", "$4", "R12")
	f.op("DECQ", "R13")
	f.op("JNE", "row")
	f.op("ADDQ", imm(groupSize), "R10")
	f.op("ADDQ", "$64", "R9")
	f.op("DECQ", "R11")
	f.op("JNE", "group")
	f.op("MOVQ", at(stretchLanes, "AX"), "AX")
	for h := range s.halves() {
		f.op("VMOVUPS", s.reg(h), at(32*h, "AX"))
	}
	f.ret()
}

// viewPaint writes the resizing along y together with the change of colours.
func viewPaint(f *asm, s isa) {
	f.text(fmt.Sprintf("paint%d", 32*s.lanes), 8, "Resizes lines along y, maps the colours of their pixels and writes them.")
	f.op("MOVQ", "arg+0(FP)", "AX")
	for _, l := range []struct {
		offset int
		to     string
	}{
		{paintWidth, "BX"}, {paintSource, "R8"}, {paintTarget, "DI"}, {paintTaps, "R9"}, {paintRows, "R12"},
		{paintSourcePlane, "R10"}, {paintTargetPlane, "R11"}, {paintColors, "R13"},
	} {
		f.op("MOVQ", at(l.offset, "AX"), l.to)
	}
	// color returns value i of the map: a register that holds it for good, or where it lies 8 times.
	color := func(i int) string {
		if s.lanes == 16 {
			return s.reg(14 + i)
		}
		return at(32*i, "R13")
	}
	if s.lanes == 16 {
		for i := range 18 {
			f.op("VBROADCASTSS", at(4*i, "R13"), s.reg(14+i))
		}
	}
	f.note("The mask of the last columns.")
	f.op("ANDQ", imm(s.lanes-1), "BX")
	s.masks(f, "BX", 1)
	planes := func(base, plane string) []string {
		return []string{at(0, base), atIndex(0, base, plane, 1), atIndex(0, base, plane, 2)}
	}
	body := func(mask int) {
		upper, lower, target := planes("SI", "R10"), planes("DX", "R10"), planes("DI", "R11")
		for c := range 3 {
			f.op("VMOVUPS", upper[c], s.reg(1+c))
			f.op("VMOVUPS", lower[c], s.reg(4+c))
			f.op("VSUBPS", s.reg(1+c), s.reg(4+c), s.reg(4+c))
			f.op("VFMADD231PS", s.reg(0), s.reg(4+c), s.reg(1+c))
		}
		for c := range 3 {
			f.op("VMOVUPS", color(9+c), s.reg(7+c))
		}
		for k := range 3 {
			for c := range 3 {
				f.op("VFMADD231PS", color(3*c+k), s.reg(1+k), s.reg(7+c))
			}
		}
		for c := range 3 {
			f.op("VMAXPS", color(12+c), s.reg(7+c), s.reg(7+c))
			f.op("VMINPS", color(15+c), s.reg(7+c), s.reg(7+c))
			s.store(f, 7+c, target[c], mask)
		}
	}
	f.label("row")
	f.op("MOVQ", "(R9)", "SI")
	f.op("ADDQ", "R8", "SI")
	f.op("MOVQ", "8(R9)", "DX")
	f.op("ADDQ", "R8", "DX")
	f.op("VBROADCASTSS", at(tapWeight, "R9"), s.reg(0))
	f.op("MOVQ", at(paintWidth, "AX"), "BX")
	f.op("SUBQ", imm(s.lanes), "BX")
	f.op("JLT", "tail")
	f.label("loop")
	body(-1)
	for _, p := range []string{"SI", "DX", "DI"} {
		f.op("ADDQ", imm(s.bytes()), p)
	}
	f.op("SUBQ", imm(s.lanes), "BX")
	f.op("JGE", "loop")
	f.label("tail")
	f.op("ADDQ", imm(s.lanes), "BX")
	f.op("JEQ", "next")
	body(s.mask(f, 0, 15))
	f.op("LEAQ", atIndex(0, "DI", "BX", 4), "DI")
	f.label("next")
	f.op("ADDQ", imm(tapSize), "R9")
	f.op("DECQ", "R12")
	f.op("JNE", "row")
	f.ret()
}

// viewDropout writes the dropout of values.
func viewDropout(f *asm, s isa) {
	f.text(fmt.Sprintf("dropout%d", 32*s.lanes), 32, "Zeroes the values whose hash is below limit and scales the others.")
	f.op("MOVQ", "x+0(FP)", "SI")
	f.op("MOVQ", "n+8(FP)", "BX")
	broadcast := func(from string, to int) {
		f.op("MOVL", from, "AX")
		f.op("VMOVD", "AX", fmt.Sprintf("X%d", to))
		f.op("VPBROADCASTD", fmt.Sprintf("X%d", to), s.reg(to))
	}
	broadcast("low+16(FP)", 0)
	broadcast("high+20(FP)", 1)
	broadcast("limit+24(FP)", 2)
	f.op("VBROADCASTSS", "scale+28(FP)", s.reg(3))
	broadcast("$0x7feb352d", 4)
	broadcast("$0x846ca68b", 5)
	broadcast(imm(s.lanes), 6)
	xor := "VPXOR"
	if s.lanes == 16 {
		xor = "VPXORD"
		f.op("VPADDD", "counting<>(SB)", "Z0", "Z0")
	} else {
		f.op("VPADDD", "counting<>(SB)", "Y0", "Y0")
		f.note("AVX2 compares with signs.")
		broadcast("$0x80000000", 7)
		f.op(xor, s.reg(7), s.reg(2), s.reg(2))
	}
	fold := func(shift int) {
		f.op("VPSRLD", imm(shift), s.reg(8), s.reg(9))
		f.op(xor, s.reg(9), s.reg(8), s.reg(8))
	}
	body := func(mask int) {
		f.op("VPSRLD", "$16", s.reg(0), s.reg(9))
		f.op(xor, s.reg(9), s.reg(0), s.reg(8))
		f.op("VPMULLD", s.reg(4), s.reg(8), s.reg(8))
		f.op(xor, s.reg(1), s.reg(8), s.reg(8))
		fold(15)
		f.op("VPMULLD", s.reg(5), s.reg(8), s.reg(8))
		fold(16)
		s.load(f, "(SI)", 10, mask)
		f.op("VMULPS", s.reg(3), s.reg(10), s.reg(10))
		if s.lanes == 16 {
			f.op("VPCMPUD", "$5", s.reg(2), s.reg(8), "K2") // not below
			f.op("VMOVAPS.Z", s.reg(10), "K2", s.reg(10))
		} else {
			f.op(xor, s.reg(7), s.reg(8), s.reg(8))
			f.op("VPCMPGTD", s.reg(8), s.reg(2), s.reg(8)) // limit > hash
			f.op("VANDNPS", s.reg(10), s.reg(8), s.reg(10))
		}
		s.store(f, 10, "(SI)", mask)
	}
	f.op("SUBQ", imm(s.lanes), "BX")
	f.op("JLT", "tail")
	f.label("loop")
	body(-1)
	f.op("VPADDD", s.reg(6), s.reg(0), s.reg(0))
	f.op("ADDQ", imm(s.bytes()), "SI")
	f.op("SUBQ", imm(s.lanes), "BX")
	f.op("JGE", "loop")
	f.label("tail")
	f.op("ADDQ", imm(s.lanes), "BX")
	f.op("JEQ", "end")
	s.masks(f, "BX", 1)
	body(s.mask(f, 0, 15))
	f.label("end")
	f.ret()
}

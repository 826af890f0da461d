package main

import "fmt"

// Layout of the argument struct of convbf16_amd64.go.
const roundFrom, roundAnd, roundTo, roundPixels, roundMask = 0, 8, 16, 24, 32

func convBF16File() []byte {
	f := newFile(`
Convolutions of bfloat16 with float32 sums. A tile is that of float32 with two channels, or the same pixel of two images,
where float32 has one: VDPBF16PS adds both products to a sum.`)
	interleaveData(f)
	for blocks := 1; blocks <= 2; blocks++ {
		for pixels := 1; pixels <= convPixels512; pixels++ {
			convTile(f, avx512, bf16Terms, pixels, blocks)
		}
	}
	for channels := 1; channels <= 16; channels++ {
		convWeights(f, avx512, bf16Terms, channels)
	}
	roundBF16(f)
	roundPairsBF16(f)
	return f.Bytes()
}

// interleaveData writes the order of words that interleaves the halves of a register.
func interleaveData(f *asm) {
	f.WriteString("\n// interleaveBF16 takes words 0, 16, 1, 17, ….\n")
	for i := range uint64(8) {
		// Words 2*i, 16+2*i, 2*i+1, 17+2*i.
		w := 2*i | (16+2*i)<<16 | (2*i+1)<<32 | (17+2*i)<<48
		fmt.Fprintf(f, "DATA interleaveBF16<>+%d(SB)/8, $0x%016x\n", 8*i, w)
	}
	f.WriteString("GLOBL interleaveBF16<>(SB), RODATA|NOPTR, $64\n")
}

var bf16Terms = convTerms{
	name:     func(isa) string { return "BF16" },
	multiply: func(f *asm, _ isa, x, w, acc int) { f.evex(vdpbf16ps, zmm(w), x, acc) },
	multiplyOne: func(f *asm, offset int, base string, w, acc int) {
		f.evex(vdpbf16ps, evexSource{base: base, offset: offset, bcst: true}, w, acc)
	},
	perWord: 2,
}

// roundBF16 writes the function that rounds so many pixels of 16 channels. The mask tells which channels there are; the
// others become zero.
func roundBF16(f *asm) {
	f.text("roundBF16", 8, "Pixels of 16 channels, 64 bytes each, to 32 bytes each.")
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(roundFrom, "AX"), "SI")
	f.op("MOVQ", at(roundTo, "AX"), "DI")
	f.op("MOVQ", at(roundPixels, "AX"), "CX")
	f.op("MOVQ", at(roundMask, "AX"), "DX")
	f.op("KMOVW", "DX", "K1")
	const unroll = 4
	f.op("SUBQ", imm(unroll), "CX")
	f.op("JLT", "rest")
	f.label("loop")
	for i := range unroll {
		f.op("VMOVUPS.Z", at(64*i, "SI"), "K1", avx512.reg(i))
	}
	for i := 0; i < unroll; i += 2 {
		f.evex(vcvtne2ps2bf16, zmm(i), i+1, i)
		f.op("VMOVUPS", avx512.reg(i), at(32*i, "DI"))
	}
	f.op("ADDQ", imm(64*unroll), "SI")
	f.op("ADDQ", imm(32*unroll), "DI")
	f.op("SUBQ", imm(unroll), "CX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", imm(unroll), "CX")
	f.op("JEQ", "done")
	f.label("one")
	f.op("VMOVUPS.Z", "(SI)", "K1", "Z0")
	f.evex(vcvtneps2bf16, zmm(0), 0, 0)
	f.op("VMOVUPS", "Y0", "(DI)")
	f.op("ADDQ", "$64", "SI")
	f.op("ADDQ", "$32", "DI")
	f.op("DECQ", "CX")
	f.op("JNE", "one")
	f.label("done")
	f.ret()
}

// roundPairsBF16 writes the function that rounds so many pixels of two images and interleaves them: 16 channels, of each
// the value of the first image and that of the second.
func roundPairsBF16(f *asm) {
	f.text("roundPairsBF16", 8, "Pixels of 16 channels of two images, 64 bytes each, to 64 bytes.")
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(roundFrom, "AX"), "SI")
	f.op("MOVQ", at(roundAnd, "AX"), "DX")
	f.op("MOVQ", at(roundTo, "AX"), "DI")
	f.op("MOVQ", at(roundPixels, "AX"), "CX")
	f.op("VMOVDQU64", "interleaveBF16<>(SB)", "Z3")
	f.op("TESTQ", "DX", "DX")
	f.op("JEQ", "alone")
	f.label("both")
	f.op("VMOVUPS", "(DX)", "Z1")
	f.evex(vcvtne2ps2bf16, evexSource{base: "SI"}, 1, 0)
	f.op("VPERMW", "Z0", "Z3", "Z0")
	f.op("VMOVUPS", "Z0", "(DI)")
	f.op("ADDQ", "$64", "SI")
	f.op("ADDQ", "$64", "DX")
	f.op("ADDQ", "$64", "DI")
	f.op("DECQ", "CX")
	f.op("JNE", "both")
	f.ret()
	f.label("alone")
	f.op("VPXORD", "Z1", "Z1", "Z1")
	f.label("one")
	f.evex(vcvtne2ps2bf16, evexSource{base: "SI"}, 1, 0)
	f.op("VPERMW", "Z0", "Z3", "Z0")
	f.op("VMOVUPS", "Z0", "(DI)")
	f.op("ADDQ", "$64", "SI")
	f.op("ADDQ", "$64", "DI")
	f.op("DECQ", "CX")
	f.op("JNE", "one")
	f.ret()
}

// convBF16Stubs returns the Go side of convbf16_amd64.s.
func convBF16Stubs() []byte {
	f := newStubs()
	f.WriteString("\n// convTileBF16 computes a tile of the given size.\nfunc convTileBF16(pixels, blocks int, arg *convArgs) {\nswitch blocks<<8 | pixels {\n")
	for b := 1; b <= 2; b++ {
		for p := 1; p <= convPixels512; p++ {
			fmt.Fprintf(f, "case %d<<8 | %d:\nconvTileBF16x%dx%d(arg)\n", b, p, p, b)
		}
	}
	f.WriteString("}\n}\n\n// convWeightsBF16 adds to the gradient of so many input channels.\nfunc convWeightsBF16(channels int, arg *convWeightsArgs) {\nswitch channels {\n")
	for c := 1; c <= 16; c++ {
		fmt.Fprintf(f, "case %d:\nconvWeightsBF16x%d(arg)\n", c, c)
	}
	f.WriteString("}\n}\n")
	for b := 1; b <= 2; b++ {
		for p := 1; p <= convPixels512; p++ {
			f.declare(fmt.Sprintf("convTileBF16x%dx%d", p, b), "convArgs")
		}
	}
	for c := 1; c <= 16; c++ {
		f.declare(fmt.Sprintf("convWeightsBF16x%d", c), "convWeightsArgs")
	}
	f.declare("roundBF16", "roundArgs")
	f.declare("roundPairsBF16", "roundArgs")
	return f.done()
}

package main

import (
	"fmt"
	"strings"
)

// winogradName is the name of the function of a transform. Names that end in BF16 have no width: there is one only.
func winogradName(name string, s isa) string {
	if strings.HasSuffix(name, "BF16") {
		return "winograd" + name
	}
	return fmt.Sprintf("winograd%s%d", name, 32*s.lanes)
}

func winogradBF16File() []byte {
	f := newFile(`
Winograd convolutions whose transformed tiles and filters are rounded to bfloat16. Those of the products go in pairs: of
channels, or, for the gradient of the filters, of tiles.`)
	winogradData(f)
	interleaveData(f)
	winogradInput(f, avx512, "InputBF16", storeBF16)
	winogradInput(f, avx512, "InputPairBF16", storePairBF16)
	winogradGradient(f, avx512, "GradientPairBF16", storePairBF16)
	for v := 1; v <= 2; v++ {
		for r := 1; r <= productRows512; r++ {
			winogradProduct(f, avx512, bf16Terms, r, v, false)
			winogradProduct(f, avx512, bf16Terms, r, v, true)
		}
	}
	return f.Bytes()
}

// storeBF16 rounds a register and stores it.
func storeBF16(t *transformer, reg int, mem string) {
	const rounded = 30
	t.evex(vcvtneps2bf16, zmm(reg), 0, rounded)
	t.op("VMOVUPS", fmt.Sprintf("Y%d", rounded), mem)
}

// storePairBF16 rounds what memory holds, float32 values of the tile before, and a register, and stores both interleaved.
func storePairBF16(t *transformer, reg int, mem string) {
	const both, order = 30, 31
	t.op("VMOVUPS", mem, t.reg(both))
	t.evex(vcvtne2ps2bf16, zmm(both), reg, both)
	t.op("VMOVDQU64", "interleaveBF16<>(SB)", t.reg(order))
	t.op("VPERMW", t.reg(both), t.reg(order), t.reg(both))
	t.op("VMOVUPS", t.reg(both), mem)
}

// winogradBF16Stubs returns the Go side of winogradbf16_amd64.s.
func winogradBF16Stubs() []byte {
	f := newStubs()
	for _, kind := range []string{"Product", "Outer"} {
		fmt.Fprintf(f, "\n// winograd%sBF16 computes so many rows by so many registers of columns.\n", kind)
		fmt.Fprintf(f, "func winograd%sBF16(rows, vecs int, arg *winogradProductArgs) {\nswitch vecs<<8 | rows {\n", kind)
		for v := 1; v <= 2; v++ {
			for r := 1; r <= productRows512; r++ {
				fmt.Fprintf(f, "case %d<<8 | %d:\nwinograd%sBF16x%dx%d(arg)\n", v, r, kind, r, v)
			}
		}
		f.WriteString("}\n}\n")
	}
	for _, kind := range []string{"Product", "Outer"} {
		for v := 1; v <= 2; v++ {
			for r := 1; r <= productRows512; r++ {
				f.declare(fmt.Sprintf("winograd%sBF16x%dx%d", kind, r, v), "winogradProductArgs")
			}
		}
	}
	for _, name := range []string{"InputBF16", "InputPairBF16", "GradientPairBF16"} {
		f.declare("winograd"+name, "winogradTransformArgs")
	}
	return f.done()
}

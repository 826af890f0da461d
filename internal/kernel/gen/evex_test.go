package main

import (
	"encoding/hex"
	"testing"
)

// TestEvex holds the encodings against those of the GNU assembler 2.
func TestEvex(t *testing.T) {
	memory := func(offset int, base string) evexSource { return evexSource{base: base, offset: offset} }
	one := func(offset int, base string) evexSource { return evexSource{base: base, offset: offset, bcst: true} }
	for _, c := range []struct {
		op        evexOp
		src       evexSource
		src1, dst int
		want      string
	}{
		{vdpbf16ps, zmm(3), 2, 1, "62f26e4852cb"},
		{vdpbf16ps, zmm(31), 30, 29, "62020e4052ef"},
		{vdpbf16ps, zmm(8), 16, 9, "62527e4052c8"},
		{vdpbf16ps, memory(0, "AX"), 0, 0, "62f27e485200"},
		{vdpbf16ps, memory(64, "SI"), 4, 17, "62e25e48524e01"},
		{vdpbf16ps, memory(-8192, "DI"), 4, 17, "62e25e48524f80"},      // the farthest in one byte
		{vdpbf16ps, memory(8192, "DI"), 4, 17, "62e25e48528f00200000"}, // beyond
		{vdpbf16ps, memory(32, "DI"), 4, 17, "62e25e48528f20000000"},   // no multiple of 64
		{vdpbf16ps, one(0, "SI"), 24, 5, "62f23e50522e"},               // a broadcast value
		{vdpbf16ps, one(60, "SI"), 24, 5, "62f23e50526e0f"},            // counts 4 bytes
		{vdpbf16ps, one(512, "SI"), 24, 5, "62f23e5052ae00020000"},
		{vdpbf16ps, memory(0, "R13"), 1, 2, "62d27648525500"}, // needs a displacement
		{vdpbf16ps, memory(0, "R12"), 1, 2, "62d27648521424"}, // needs a SIB byte
		{vdpbf16ps, one(4, "SP"), 1, 2, "62f2765852542401"},   // both
		{vcvtne2ps2bf16, zmm(7), 15, 23, "62e2074872ff"},
		{vcvtneps2bf16, zmm(26), 0, 11, "62127e4872da"},
		{vcvtneps2bf16, one(0, "DX"), 0, 0, "62f27e587202"},
		{vdpbf16ps, evexSource{base: "BP", index: "R15", scale: 8}, 1, 2, "62b276485254fd00"},
		{vdpbf16ps, evexSource{base: "R10", index: "R9", scale: 2, offset: 12, bcst: true}, 20, 12, "62125e5052644a03"},
		{vcvtne2ps2bf16, evexSource{base: "R8", index: "CX", scale: 4, offset: 128}, 15, 23, "62c20748727c8802"},
	} {
		if got := hex.EncodeToString(c.op.encode(c.src, c.src1, c.dst)); got != c.want {
			t.Errorf("%s %v, Z%d, Z%d: %s, want %s", c.op.name, c.src, c.src1, c.dst, got, c.want)
		}
	}
}

func TestEvexText(t *testing.T) {
	f := new(asm)
	f.evex(vdpbf16ps, evexSource{base: "SI", offset: 60, bcst: true}, 24, 5)
	f.evex(vcvtneps2bf16, zmm(26), 0, 11)
	const want = "\tLONG $0x503ef262; WORD $0x6e52; BYTE $0x0f // VDPBF16PS.BCST 60(SI), Z24, Z5\n" +
		"\tLONG $0x487e1262; WORD $0xda72 // VCVTNEPS2BF16 Z26, Y11\n"
	if got := f.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

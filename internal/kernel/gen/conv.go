package main

import "fmt"

// Layout of the argument structs of conv_amd64.go.
const (
	convIn, convTaps, convTapCount, convW, convWNext, convOut, convOutNext, convInPitch, convOutPitch, convBias, convAdd, convReLU, convInAt = 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96

	tapIn, tapW, tapChannels, tapBytes = 0, 8, 16, 24

	cwX, cwDy, cwDw, cwRows, cwCols, cwImages, cwXPitch, cwXRow, cwXImage, cwDyRow, cwDyImage = 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80
)

// The largest tiles of a convolution, in pixels.
const convPixels512, convPixels256 = 14, 6

func convFile() []byte {
	f := newFile(`
Convolutions on activations in blocks of 16 channels. A tile is a number of pixels by one or two blocks of output
channels, whose sums stay in registers while it runs along the taps of the window and the input channels.`)
	for _, s := range []isa{avx512, avx2} {
		if s.lanes == 16 {
			for blocks := 1; blocks <= 2; blocks++ {
				for pixels := 1; pixels <= convPixels512; pixels++ {
					convTile(f, s, float32Terms, pixels, blocks)
				}
			}
			for channels := 1; channels <= 16; channels++ {
				convWeights(f, s, float32Terms, channels)
			}
			continue
		}
		for pixels := 1; pixels <= convPixels256; pixels++ {
			convTile(f, s, float32Terms, pixels, 1)
		}
		for channels := 1; channels <= 6; channels++ {
			convWeights(f, s, float32Terms, channels)
		}
	}
	return f.Bytes()
}

// convTerms is what the sums of a convolution are made of: products of 32 bits with 32 bits.
type convTerms struct {
	// name ends the names of the functions.
	name func(s isa) string
	// multiply adds to register acc the products of registers x and w.
	multiply func(f *asm, s isa, x, w, acc int)
	// multiplyOne adds to register acc the products of register w with the value at base; AVX-512 only.
	multiplyOne func(f *asm, offset int, base string, w, acc int)
	// perWord is the number of values in 32 bits. The taps of a plan are those of float32 whatever it is.
	perWord int
}

var float32Terms = convTerms{
	name:     func(s isa) string { return fmt.Sprint(32 * s.lanes) },
	multiply: func(f *asm, s isa, x, w, acc int) { f.op("VFMADD231PS", s.reg(w), s.reg(x), s.reg(acc)) },
	multiplyOne: func(f *asm, offset int, base string, w, acc int) {
		f.op("VFMADD231PS.BCST", at(offset, base), avx512.reg(w), avx512.reg(acc))
	},
	perWord: 1,
}

// convTile writes the tile of so many pixels and blocks of 16 output channels. Pixels lie a pitch apart, in memory and
// in the tile, so a tile can run along a row, down a column, or through the images of a batch.
func convTile(f *asm, s isa, terms convTerms, pixels, blocks int) {
	f.text(fmt.Sprintf("convTile%sx%dx%d", terms.name(s), pixels, blocks), 8, fmt.Sprintf("%d pixels by %d output channels.", pixels, 16*blocks))
	vecs := blocks * s.halves()
	acc := func(p, v int) int { return p*vecs + v }
	w := pixels * vecs
	temps := []int{w + vecs}
	for t := temps[0] + 1; t < s.regs && len(temps) < 4; t++ {
		temps = append(temps, t)
	}
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(convTaps, "AX"), "BX")
	f.op("MOVQ", at(convTapCount, "AX"), "R13")
	f.op("MOVQ", at(convWNext, "AX"), "R8")
	f.op("MOVQ", at(convInPitch, "AX"), "R9")
	f.op("LEAQ", "(R9)(R9*2)", "DX")
	for i := range pixels * vecs {
		s.zero(f, i)
	}
	// offset of vector v within the weights of an input channel, or the pixel of the output
	mem := func(base, next string, offset, v int) string {
		block, half := v/s.halves(), v%s.halves()
		if block == 1 {
			return atIndex(offset+32*half, base, next, 1)
		}
		return at(offset+32*half, base)
	}
	bases := (pixels + 3) / 4
	step := func(u int) {
		for v := range vecs {
			f.op("VMOVUPS", mem("DI", "R8", 64*u, v), s.reg(w+v))
		}
		for p := range pixels {
			t := temps[p%len(temps)]
			r := row(p)
			if u > 0 {
				r = fmt.Sprint(4*u) + r
			}
			f.op("VBROADCASTSS", r, s.reg(t))
			for v := range vecs {
				terms.multiply(f, s, t, w+v, acc(p, v))
			}
		}
	}
	f.op("TESTQ", "R13", "R13")
	f.op("JEQ", "finish")
	f.label("tap")
	if terms.perWord == 1 {
		f.op("MOVQ", at(convIn, "AX"), "SI")
		f.op("ADDQ", at(convInAt, "AX"), "SI")
		f.op("ADDQ", at(tapIn, "BX"), "SI")
		f.op("MOVQ", at(convW, "AX"), "DI")
		f.op("ADDQ", at(tapW, "BX"), "DI")
		f.op("MOVQ", at(tapChannels, "BX"), "CX")
	} else {
		f.note("Offsets are half of those in float32, channels go in pairs.")
		f.op("MOVQ", at(tapIn, "BX"), "SI")
		f.op("SARQ", "$1", "SI")
		f.op("ADDQ", at(convIn, "AX"), "SI")
		f.op("ADDQ", at(convInAt, "AX"), "SI")
		f.op("MOVQ", at(tapW, "BX"), "DI")
		f.op("SARQ", "$1", "DI")
		f.op("ADDQ", at(convW, "AX"), "DI")
		f.op("MOVQ", at(tapChannels, "BX"), "CX")
		f.op("INCQ", "CX")
		f.op("SHRQ", "$1", "CX")
	}
	f.op("ADDQ", imm(tapBytes), "BX")
	for i := 1; i < bases; i++ {
		f.op("LEAQ", atIndex(0, rowBases[i-1], "R9", 4), rowBases[i])
	}
	const unroll = 4
	f.op("SUBQ", imm(unroll), "CX")
	f.op("JLT", "rest")
	f.label("loop")
	for u := range unroll {
		step(u)
	}
	for i := range bases {
		f.op("ADDQ", imm(4*unroll), rowBases[i])
	}
	f.op("ADDQ", imm(64*unroll), "DI")
	f.op("SUBQ", imm(unroll), "CX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", imm(unroll), "CX")
	f.op("JEQ", "next")
	f.label("one")
	step(0)
	for i := range bases {
		f.op("ADDQ", "$4", rowBases[i])
	}
	f.op("ADDQ", "$64", "DI")
	f.op("DECQ", "CX")
	f.op("JNE", "one")
	f.label("next")
	f.op("DECQ", "R13")
	f.op("JNE", "tap")

	f.label("finish")
	f.op("MOVQ", at(convOut, "AX"), "DI")
	f.op("MOVQ", at(convOutNext, "AX"), "R8")
	f.op("MOVQ", at(convOutPitch, "AX"), "R9")
	along := func(each func(p int)) {
		f.op("MOVQ", "DI", "SI")
		for p := range pixels {
			each(p)
			if p < pixels-1 {
				f.op("ADDQ", "R9", "SI")
			}
		}
	}
	f.op("MOVQ", at(convBias, "AX"), "CX")
	f.op("TESTQ", "CX", "CX")
	f.op("JEQ", "biased")
	for v := range vecs {
		f.op("VMOVUPS", at(4*s.lanes*v, "CX"), s.reg(w+v))
	}
	for p := range pixels {
		for v := range vecs {
			f.op("VADDPS", s.reg(w+v), s.reg(acc(p, v)), s.reg(acc(p, v)))
		}
	}
	f.label("biased")
	f.op("CMPQ", at(convAdd, "AX"), "$0")
	f.op("JEQ", "added")
	along(func(p int) {
		for v := range vecs {
			f.op("VADDPS", mem("SI", "R8", 0, v), s.reg(acc(p, v)), s.reg(acc(p, v)))
		}
	})
	f.label("added")
	f.op("CMPQ", at(convReLU, "AX"), "$0")
	f.op("JEQ", "store")
	f.note("0 > sum ? 0 : sum, which keeps NaN.")
	s.zero(f, w)
	for i := range pixels * vecs {
		f.op("VMAXPS", s.reg(i), s.reg(w), s.reg(i))
	}
	f.label("store")
	along(func(p int) {
		for v := range vecs {
			f.op("VMOVUPS", s.reg(acc(p, v)), mem("SI", "R8", 0, v))
		}
	})
	f.ret()
}

// convWeights writes the function that adds to the gradient of one tap, so many input channels by 16 output channels,
// the products of a rectangle of pixels: x pixels lie xPitch apart in a row, dy pixels follow each other.
func convWeights(f *asm, s isa, terms convTerms, channels int) {
	f.text(fmt.Sprintf("convWeights%sx%d", terms.name(s), channels), 8, fmt.Sprintf("%d input channels by 16 output channels.", channels))
	vecs := s.halves()
	acc := func(c, v int) int { return c*vecs + v }
	dy := channels * vecs
	var temps []int
	for t := dy + vecs; t < s.regs && len(temps) < 4; t++ {
		temps = append(temps, t)
	}
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(cwDw, "AX"), "BX")
	for c := range channels {
		for v := range vecs {
			f.op("VMOVUPS", at(64*c+32*v, "BX"), s.reg(acc(c, v)))
		}
	}
	f.op("MOVQ", at(cwXPitch, "AX"), "R8")
	f.op("MOVQ", at(cwX, "AX"), "R9")
	f.op("MOVQ", at(cwDy, "AX"), "R10")
	f.op("MOVQ", at(cwImages, "AX"), "DX")
	f.label("image")
	f.op("MOVQ", "R9", "R11")
	f.op("MOVQ", "R10", "R12")
	f.op("MOVQ", at(cwRows, "AX"), "R13")
	f.label("row")
	f.op("MOVQ", "R11", "SI")
	f.op("MOVQ", "R12", "DI")
	f.op("MOVQ", at(cwCols, "AX"), "CX")
	f.label("pixel")
	for v := range vecs {
		f.op("VMOVUPS", at(32*v, "DI"), s.reg(dy+v))
	}
	for c := range channels {
		if s.lanes == 16 {
			terms.multiplyOne(f, 4*c, "SI", dy, acc(c, 0))
			continue
		}
		t := s.reg(temps[c%len(temps)])
		f.op("VBROADCASTSS", at(4*c, "SI"), t)
		for v := range vecs {
			f.op("VFMADD231PS", s.reg(dy+v), t, s.reg(acc(c, v)))
		}
	}
	f.op("ADDQ", "R8", "SI")
	f.op("ADDQ", "$64", "DI")
	f.op("DECQ", "CX")
	f.op("JNE", "pixel")
	f.op("ADDQ", at(cwXRow, "AX"), "R11")
	f.op("ADDQ", at(cwDyRow, "AX"), "R12")
	f.op("DECQ", "R13")
	f.op("JNE", "row")
	f.op("ADDQ", at(cwXImage, "AX"), "R9")
	f.op("ADDQ", at(cwDyImage, "AX"), "R10")
	f.op("DECQ", "DX")
	f.op("JNE", "image")
	for c := range channels {
		for v := range vecs {
			f.op("VMOVUPS", s.reg(acc(c, v)), at(64*c+32*v, "BX"))
		}
	}
	f.ret()
}

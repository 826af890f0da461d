package main

import "fmt"

// Layout of normArgs of norm_amd64.go.
const (
	normX, normDy, normOut, normPixels, normFactor, normOffset, normCenter, normSlope, normConstant, normSums, normFloor = 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80
)

// normPiece is the number of pixels whose sums are taken in float32: sumPiece of norm.go.
const normPiece = 64

// normFile holds what batch normalisation does along the pixels of a block of 16 channels.
func normFile() []byte {
	f := newFile(`
Sums and affine maps by channel, along pixels of 16 channels. Sums run in float32 over pieces of 64 pixels, those with
even and those with odd numbers apart, and are then added to totals in float64.`)
	for _, s := range []isa{avx512, avx2} {
		bits := 32 * s.lanes
		f.text(fmt.Sprintf("laneSums%d", bits), 8, "Adds up the values of each channel.")
		laneFold(f, s, 1, func(acc func(kind int) string, x, _, _ string, _ int) {
			f.op("VADDPS", x, acc(0), acc(0))
		})
		f.text(fmt.Sprintf("laneMoments%d", bits), 8, "Adds up x-center and its square.")
		laneFold(f, s, 2, func(acc func(kind int) string, x, _, t string, h int) {
			f.op("VMOVUPS", x, t)
			f.op("VSUBPS", at(32*h, "R9"), t, t)
			f.op("VADDPS", t, acc(0), acc(0))
			f.op("VFMADD231PS", t, t, acc(1))
		})
		for _, relu := range []bool{false, true} {
			name, note := "laneGradientMoments", "Adds up dy and dy*(x-center)."
			if relu {
				name, note = name+"ReLU", "Adds up dy and dy*(x-center) where x*factor+offset is above 0."
			}
			f.text(fmt.Sprintf("%s%d", name, bits), 8, note)
			laneFold(f, s, 2, func(acc func(kind int) string, x, dy, t string, h int) {
				f.op("VMOVUPS", x, t)
				d := s.reg(14)
				if relu {
					s.affine(f, t, 14, h)
					s.whereAbove(f, 14, dy, 14)
				} else {
					f.op("VMOVUPS", dy, d)
				}
				f.op("VSUBPS", at(32*h, "R9"), t, t)
				f.op("VADDPS", d, acc(0), acc(0))
				f.op("VFMADD231PS", t, d, acc(1))
			})
		}
		for _, add := range []bool{false, true} {
			laneScaleShift(f, s, add, false)
			laneScaleShift(f, s, add, true)
		}
		laneGradient(f, s, false)
		laneGradient(f, s, true)
	}
	return f.Bytes()
}

// affine sets register z to x*factor+offset.
func (s isa) affine(f *asm, x string, z, h int) {
	f.op("VMOVUPS", at(32*h, "R11"), s.reg(z))
	f.op("VFMADD231PS", at(32*h, "R10"), x, s.reg(z))
}

// whereAbove sets register out to what lies at mem where register z is above 0, and to 0 elsewhere. It needs zeros in
// register 15. As whole numbers, the bits of a float32 have its sign, so a NaN counts by its own.
func (s isa) whereAbove(f *asm, z int, mem string, out int) {
	if s.lanes == 16 {
		f.op("VPCMPGTD", s.reg(15), s.reg(z), "K1")
		f.op("VMOVUPS.Z", mem, "K1", s.reg(out))
		return
	}
	f.op("VPCMPGTD", s.reg(15), s.reg(z), s.reg(z))
	f.op("VANDPS", mem, s.reg(z), s.reg(out))
}

// laneFold writes a function that adds up so many kinds of values. add is called for a register of 8 or 16 channels,
// the h-th of a pixel: it has the places of x and dy, a free register t, and register 14; 15 holds zeros.
func laneFold(f *asm, s isa, kinds int, add func(acc func(kind int) string, x, dy, t string, h int)) {
	halves := s.halves()
	reg := func(kind, chain, h int) int { return (kind*2+chain)*halves + h }
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(normX, "AX"), "SI")
	f.op("MOVQ", at(normDy, "AX"), "DI")
	f.op("MOVQ", at(normPixels, "AX"), "BX")
	f.op("MOVQ", at(normCenter, "AX"), "R9")
	f.op("MOVQ", at(normFactor, "AX"), "R10")
	f.op("MOVQ", at(normOffset, "AX"), "R11")
	f.op("MOVQ", at(normSums, "AX"), "R12")
	s.zero(f, 15)
	pixel := func(chain, offset int) {
		for h := range halves {
			acc := func(kind int) string { return s.reg(reg(kind, chain, h)) }
			add(acc, at(offset+32*h, "SI"), at(offset+32*h, "DI"), s.reg(8+2*chain+h), h)
		}
	}
	f.label("piece")
	f.op("TESTQ", "BX", "BX")
	f.op("JLE", "end")
	f.op("MOVQ", imm(normPiece), "CX")
	f.op("CMPQ", "BX", "CX")
	f.op("CMOVQLT", "BX", "CX")
	f.op("SUBQ", "CX", "BX")
	for i := range kinds * 2 * halves {
		s.zero(f, i)
	}
	f.op("SUBQ", "$2", "CX")
	f.op("JLT", "odd")
	f.label("pair")
	pixel(0, 0)
	pixel(1, 64)
	f.op("ADDQ", "$128", "SI")
	f.op("ADDQ", "$128", "DI")
	f.op("SUBQ", "$2", "CX")
	f.op("JGE", "pair")
	f.label("odd")
	f.op("ADDQ", "$2", "CX")
	f.op("JEQ", "total")
	pixel(0, 0)
	f.op("ADDQ", "$64", "SI")
	f.op("ADDQ", "$64", "DI")
	f.label("total")
	for kind := range kinds {
		for h := range halves {
			sum := reg(kind, 0, h)
			f.op("VADDPS", s.reg(reg(kind, 1, h)), s.reg(sum), s.reg(sum))
			half, extract := letter("Y"), "VEXTRACTF64X4"
			if s.lanes == 8 {
				half, extract = "X", "VEXTRACTF128"
			}
			for part := range 2 {
				place := at(128*kind+64*h+part*s.bytes(), "R12")
				from := sum
				if part == 1 {
					from = 8
					f.op(extract, "$1", s.reg(sum), half.reg(from))
				}
				f.op("VCVTPS2PD", half.reg(from), s.reg(8))
				f.op("VADDPD", place, s.reg(8), s.reg(8))
				f.op("VMOVUPD", s.reg(8), place)
			}
		}
	}
	f.op("JMP", "piece")
	f.label("end")
	f.ret()
}

// alongPixels writes the loop over the pixels: body handles so many of them from an offset on.
func alongPixels(f *asm, pointers []string, unroll int, body func(offset int)) {
	f.op("SUBQ", imm(unroll), "BX")
	f.op("JLT", "rest")
	f.label("loop")
	for u := range unroll {
		body(64 * u)
	}
	for _, p := range pointers {
		f.op("ADDQ", imm(64*unroll), p)
	}
	f.op("SUBQ", imm(unroll), "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", imm(unroll), "BX")
	f.op("JEQ", "end")
	f.label("one")
	body(0)
	for _, p := range pointers {
		f.op("ADDQ", "$64", p)
	}
	f.op("DECQ", "BX")
	f.op("JNE", "one")
	f.label("end")
}

// laneScaleShift writes y = max(x*factor + offset, floor), with add the values at dy added to it; with stream set y is
// aligned and goes past the caches.
func laneScaleShift(f *asm, s isa, add, stream bool) {
	name, note, store := "laneScaleShift", "The maximum of x*factor+offset and floor, which keeps NaN", "VMOVUPS"
	pointers := []string{"SI", "DI"}
	if add {
		name, note, pointers = name+"Add", note+", plus dy", append(pointers, "R8")
	}
	if stream {
		name, store = name+"Stream", "VMOVNTPS"
	}
	f.text(fmt.Sprintf("%s%d", name, 32*s.lanes), 8, note+".")
	halves := s.halves()
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(normX, "AX"), "SI")
	f.op("MOVQ", at(normOut, "AX"), "DI")
	f.op("MOVQ", at(normDy, "AX"), "R8")
	f.op("MOVQ", at(normPixels, "AX"), "BX")
	f.op("MOVQ", at(normFactor, "AX"), "R10")
	f.op("MOVQ", at(normOffset, "AX"), "R11")
	f.op("VBROADCASTSS", at(normFloor, "AX"), s.reg(15))
	for h := range halves {
		f.op("VMOVUPS", at(32*h, "R10"), s.reg(10+h))
		f.op("VMOVUPS", at(32*h, "R11"), s.reg(12+h))
	}
	alongPixels(f, pointers, 4, func(offset int) {
		for h := range halves {
			t := offset/64*halves + h
			f.op("VMOVUPS", s.reg(12+h), s.reg(t))
			f.op("VFMADD231PS", at(offset+32*h, "SI"), s.reg(10+h), s.reg(t))
			f.op("VMAXPS", s.reg(t), s.reg(15), s.reg(t))
			if add {
				f.op("VADDPS", at(offset+32*h, "R8"), s.reg(t), s.reg(t))
			}
			f.op(store, s.reg(t), at(offset+32*h, "DI"))
		}
	})
	if stream {
		f.op("SFENCE")
	}
	f.ret()
}

// laneGradient writes dx = dz*factor + (x*slope + constant), with relu dz being dy where x*factor+offset is above 0 and
// 0 elsewhere, without it dy itself.
func laneGradient(f *asm, s isa, relu bool) {
	name, note := "laneGradient", "dy*factor + x*slope + constant"
	if relu {
		name, note = name+"ReLU", "dz*factor + x*slope + constant, dz being dy where x*factor+offset is above 0"
	}
	f.text(fmt.Sprintf("%s%d", name, 32*s.lanes), 8, note+".")
	halves := s.halves()
	for i, o := range []struct {
		offset   int
		register string
	}{
		{-1, "arg+0(FP)"}, {normX, "SI"}, {normDy, "DI"}, {normOut, "R8"}, {normPixels, "BX"},
		{normFactor, "R10"}, {normOffset, "R11"}, {normSlope, "R12"}, {normConstant, "R13"},
	} {
		if i == 0 {
			f.op("MOVQ", o.register, "AX")
			continue
		}
		f.op("MOVQ", at(o.offset, "AX"), o.register)
	}
	s.zero(f, 15)
	for h := range halves {
		f.op("VMOVUPS", at(32*h, "R10"), s.reg(8+h))
		f.op("VMOVUPS", at(32*h, "R12"), s.reg(10+h))
		f.op("VMOVUPS", at(32*h, "R13"), s.reg(12+h))
	}
	alongPixels(f, []string{"SI", "DI", "R8"}, 4, func(offset int) {
		for h := range halves {
			x, t := (offset/64*halves+h)%4, 4+(offset/64*halves+h)%4
			f.op("VMOVUPS", at(offset+32*h, "SI"), s.reg(x))
			d := at(offset+32*h, "DI")
			if relu {
				s.affine(f, s.reg(x), t, h)
				s.whereAbove(f, t, d, t)
			} else {
				f.op("VMOVUPS", d, s.reg(t))
			}
			f.op("VFMADD213PS", s.reg(12+h), s.reg(10+h), s.reg(x))
			f.op("VFMADD213PS", s.reg(x), s.reg(8+h), s.reg(t))
			f.op("VMOVUPS", s.reg(t), at(offset+32*h, "R8"))
		}
	})
	f.ret()
}

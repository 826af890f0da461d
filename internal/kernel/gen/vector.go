package main

import "fmt"

// vectorFile holds what works along one or two vectors.
func vectorFile() []byte {
	f := newFile(`Operations along vectors.`)
	maskTable(f)
	for _, s := range []isa{avx512, avx2} {
		bits := 32 * s.lanes
		step := s.bytes()
		f.text(fmt.Sprintf("axpy%d", bits), 32, "y += alpha*x, n values.")
		f.op("VBROADCASTSS", "alpha+0(FP)", s.reg(8))
		f.op("MOVQ", "x+8(FP)", "SI")
		f.op("MOVQ", "y+16(FP)", "DI")
		f.op("MOVQ", "n+24(FP)", "BX")
		s.along(f, []string{"SI", "DI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "SI"), i, mask)
				s.load(f, at(i*step, "DI"), 4+i, mask)
			}
			for i := range count {
				f.op("VFMADD231PS", s.reg(i), s.reg(8), s.reg(4+i))
				s.store(f, 4+i, at(i*step, "DI"), mask)
			}
		})
		f.ret()

		f.text(fmt.Sprintf("scale%d", bits), 24, "x *= alpha, n values.")
		f.op("VBROADCASTSS", "alpha+0(FP)", s.reg(8))
		f.op("MOVQ", "x+8(FP)", "SI")
		f.op("MOVQ", "n+16(FP)", "BX")
		s.along(f, []string{"SI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "SI"), i, mask)
				f.op("VMULPS", s.reg(8), s.reg(i), s.reg(i))
				s.store(f, i, at(i*step, "SI"), mask)
			}
		})
		f.ret()

		f.text(fmt.Sprintf("sum%d", bits), 20, "The sum of n values, in 64 lanes, then 16, then as a tree.")
		f.op("MOVQ", "x+0(FP)", "SI")
		f.op("MOVQ", "n+8(FP)", "BX")
		halves := s.halves()
		for i := range 4 * halves {
			s.zero(f, i)
		}
		f.op("SUBQ", "$64", "BX")
		f.op("JLT", "rest")
		f.label("loop")
		for i := range 4 * halves {
			f.op("VADDPS", at(i*step, "SI"), s.reg(i), s.reg(i))
		}
		f.op("ADDQ", "$256", "SI")
		f.op("SUBQ", "$64", "BX")
		f.op("JGE", "loop")
		f.label("rest")
		f.op("ADDQ", "$48", "BX")
		f.op("JLT", "tail")
		f.label("one")
		for h := range halves {
			f.op("VADDPS", at(h*step, "SI"), s.reg(h), s.reg(h))
		}
		f.op("ADDQ", "$64", "SI")
		f.op("SUBQ", "$16", "BX")
		f.op("JGE", "one")
		f.label("tail")
		f.op("ADDQ", "$16", "BX")
		f.op("JEQ", "end")
		s.masks(f, "BX", 1)
		for h := range halves {
			s.load(f, at(h*step, "SI"), 9, s.mask(f, h, 10))
			f.op("VADDPS", s.reg(9), s.reg(h), s.reg(h))
		}
		f.label("end")
		for h := range halves {
			f.op("VADDPS", s.reg(halves+h), s.reg(h), s.reg(h))
			f.op("VADDPS", s.reg(3*halves+h), s.reg(2*halves+h), s.reg(2*halves+h))
			f.op("VADDPS", s.reg(2*halves+h), s.reg(h), s.reg(h))
		}
		s.sumLanes(f)
		f.op("VMOVSS", "X0", "ret+16(FP)")
		f.ret()
	}
	return f.Bytes()
}

// along writes the loops over the BX values at the pointers, which it moves on: body handles four registers from the
// pointers on, or one, masked where mask is not negative. CX and register 15 of AVX2 are lost to masks.
func (s isa) along(f *asm, pointers []string, body func(count, mask int)) {
	const unroll = 4
	f.op("SUBQ", imm(unroll*s.lanes), "BX")
	f.op("JLT", "rest")
	f.label("loop")
	body(unroll, -1)
	for _, p := range pointers {
		f.op("ADDQ", imm(unroll*s.bytes()), p)
	}
	f.op("SUBQ", imm(unroll*s.lanes), "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", imm((unroll-1)*s.lanes), "BX")
	f.op("JLT", "tail")
	f.label("one")
	body(1, -1)
	for _, p := range pointers {
		f.op("ADDQ", imm(s.bytes()), p)
	}
	f.op("SUBQ", imm(s.lanes), "BX")
	f.op("JGE", "one")
	f.label("tail")
	f.op("ADDQ", imm(s.lanes), "BX")
	f.op("JEQ", "end")
	s.masks(f, "BX", 1)
	body(1, s.mask(f, 0, 15))
	f.label("end")
}

package main

import "fmt"

// elementwiseFile holds what layers do value by value.
func elementwiseFile() []byte {
	f := newFile(`What layers and the solver do value by value.`)
	maskTable(f)
	for _, s := range []isa{avx512, avx2} {
		bits := 32 * s.lanes
		step := s.bytes()

		f.text(fmt.Sprintf("addMax%d", bits), 36, "z = the maximum of x+y and floor, which keeps NaN, n values.")
		f.op("MOVQ", "z+0(FP)", "DI")
		f.op("MOVQ", "x+8(FP)", "SI")
		f.op("MOVQ", "y+16(FP)", "DX")
		f.op("MOVQ", "n+24(FP)", "BX")
		f.op("VBROADCASTSS", "floor+32(FP)", s.reg(14))
		s.along(f, []string{"SI", "DX", "DI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "SI"), i, mask)
				s.load(f, at(i*step, "DX"), 4+i, mask)
				f.op("VADDPS", s.reg(4+i), s.reg(i), s.reg(i))
				f.op("VMAXPS", s.reg(i), s.reg(14), s.reg(i))
				s.store(f, i, at(i*step, "DI"), mask)
			}
		})
		f.ret()

		f.text(fmt.Sprintf("relu%d", bits), 24, "y = the maximum of x and 0, which keeps NaN, n values.")
		f.op("MOVQ", "y+0(FP)", "DI")
		f.op("MOVQ", "x+8(FP)", "SI")
		f.op("MOVQ", "n+16(FP)", "BX")
		s.zero(f, 14)
		s.along(f, []string{"SI", "DI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "SI"), i, mask)
				f.op("VMAXPS", s.reg(i), s.reg(14), s.reg(i))
				s.store(f, i, at(i*step, "DI"), mask)
			}
		})
		f.ret()

		f.text(fmt.Sprintf("reluGradient%d", bits), 32, "dz = dy where y is above 0 and 0 elsewhere, n values.")
		f.op("MOVQ", "dz+0(FP)", "DI")
		f.op("MOVQ", "dy+8(FP)", "SI")
		f.op("MOVQ", "y+16(FP)", "DX")
		f.op("MOVQ", "n+24(FP)", "BX")
		s.zero(f, 14)
		s.along(f, []string{"SI", "DX", "DI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "DX"), i, mask)
				s.load(f, at(i*step, "SI"), 4+i, mask)
				if s.lanes == 16 {
					f.op("VPCMPGTD", s.reg(14), s.reg(i), "K2")
					f.op("VMOVUPS.Z", s.reg(4+i), "K2", s.reg(i))
				} else {
					f.op("VPCMPGTD", s.reg(14), s.reg(i), s.reg(i))
					f.op("VANDPS", s.reg(4+i), s.reg(i), s.reg(i))
				}
				s.store(f, i, at(i*step, "DI"), mask)
			}
		})
		f.ret()

		sgdStep(f, s)
	}
	return f.Bytes()
}

// sgdStep writes one step of gradient descent with momentum.
func sgdStep(f *asm, s isa) {
	f.text(fmt.Sprintf("sgd%d", 32*s.lanes), 48, "v = momentum*v + (g + decay*w); w -= rate*v + gradientRate*(g + decay*w); n values.")
	step := s.bytes()
	f.op("MOVQ", "w+0(FP)", "DI")
	f.op("MOVQ", "v+8(FP)", "SI")
	f.op("MOVQ", "grad+16(FP)", "DX")
	f.op("MOVQ", "n+24(FP)", "BX")
	for i, name := range []string{"momentum+32(FP)", "decay+36(FP)", "rate+40(FP)", "gradientRate+44(FP)"} {
		f.op("VBROADCASTSS", name, s.reg(11+i))
	}
	s.along(f, []string{"SI", "DX", "DI"}, func(count, mask int) {
		for i := range count {
			w, v, g := i%3, 3+i%3, 6+i%3
			s.load(f, at(i*step, "DI"), w, mask)
			s.load(f, at(i*step, "SI"), v, mask)
			s.load(f, at(i*step, "DX"), g, mask)
			f.op("VFMADD231PS", s.reg(12), s.reg(w), s.reg(g))
			f.op("VFMADD213PS", s.reg(g), s.reg(11), s.reg(v))
			s.store(f, v, at(i*step, "SI"), mask)
			f.op("VFNMADD231PS", s.reg(13), s.reg(v), s.reg(w))
			f.op("VFNMADD231PS", s.reg(14), s.reg(g), s.reg(w))
			s.store(f, w, at(i*step, "DI"), mask)
		}
	})
	f.ret()
}

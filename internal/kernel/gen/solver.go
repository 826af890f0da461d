package main

import "fmt"

// solverFile holds steps of solvers that need more than sgdStep.
func solverFile() []byte {
	f := newFile(`Steps of solvers.`)
	maskTable(f)
	for _, s := range []isa{avx512, avx2} {
		adamStep(f, s)
	}
	return f.Bytes()
}

// adamStep writes one step of AdamW.
func adamStep(f *asm, s isa) {
	f.text(fmt.Sprintf("adam%d", 32*s.lanes), 72, `m = beta1*m + rest1*g; v = beta2*v + rest2*g*g;
// w = keep*w - (mRate*m + gRate*g)/(sqrt(v) + epsilon); n values.`)
	step := s.bytes()
	f.op("MOVQ", "w+0(FP)", "DI")
	f.op("MOVQ", "m+8(FP)", "SI")
	f.op("MOVQ", "v+16(FP)", "R8")
	f.op("MOVQ", "grad+24(FP)", "DX")
	f.op("MOVQ", "n+32(FP)", "BX")
	const beta1, rest1, beta2, rest2, keep, mRate, gRate, epsilon = 7, 8, 9, 10, 11, 12, 13, 14
	for i, name := range []string{"beta1", "rest1", "beta2", "rest2", "keep", "mRate", "gRate", "epsilon"} {
		f.op("VBROADCASTSS", fmt.Sprintf("%s+%d(FP)", name, 40+4*i), s.reg(beta1+i))
	}
	const w, m, v, g, t = 0, 1, 2, 3, 4
	s.along(f, []string{"SI", "R8", "DX", "DI"}, func(count, mask int) {
		for i := range count {
			s.load(f, at(i*step, "DX"), g, mask)
			s.load(f, at(i*step, "SI"), m, mask)
			s.load(f, at(i*step, "R8"), v, mask)
			s.load(f, at(i*step, "DI"), w, mask)
			f.op("VMULPS", s.reg(rest1), s.reg(g), s.reg(t))
			f.op("VFMADD213PS", s.reg(t), s.reg(beta1), s.reg(m))
			s.store(f, m, at(i*step, "SI"), mask)
			f.op("VMULPS", s.reg(g), s.reg(g), s.reg(t))
			f.op("VMULPS", s.reg(rest2), s.reg(t), s.reg(t))
			f.op("VFMADD213PS", s.reg(t), s.reg(beta2), s.reg(v))
			s.store(f, v, at(i*step, "R8"), mask)
			f.op("VSQRTPS", s.reg(v), s.reg(v))
			f.op("VADDPS", s.reg(epsilon), s.reg(v), s.reg(v))
			f.op("VMULPS", s.reg(mRate), s.reg(m), s.reg(m))
			f.op("VFMADD231PS", s.reg(gRate), s.reg(g), s.reg(m))
			f.op("VDIVPS", s.reg(v), s.reg(m), s.reg(m))
			f.op("VFMSUB213PS", s.reg(m), s.reg(keep), s.reg(w))
			s.store(f, w, at(i*step, "DI"), mask)
		}
	})
	f.ret()
}

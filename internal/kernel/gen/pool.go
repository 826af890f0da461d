package main

import "fmt"

// Layout of poolArgs of pool_amd64.go.
const (
	poolX, poolY, poolChoice, poolCount, poolStep, poolPitch, poolSize, poolFloor, poolNone = 0, 8, 16, 24, 32, 40, 48, 56, 60
)

// poolFile holds the maximum over windows, forward and backward, along a row of results of 16 channels. Sides of 2 and
// 3 have functions of their own; 0 stands for the one of any side.
func poolFile() []byte {
	f := newFile(`
The maximum over windows, along a row of results. A choice is the number of the window's largest value, a byte for each
channel; 255 stands for none.`)
	for _, s := range []isa{avx512, avx2} {
		for _, size := range []int{0, 2, 3} {
			maxPool(f, s, size, false)
			maxPool(f, s, size, true)
			maxPoolGradient(f, s, size, false)
			maxPoolGradient(f, s, size, true)
		}
	}
	return f.Bytes()
}

// eachTap writes body for each tap of the window at register base, its place in memory being what body gets.
func eachTap(f *asm, base string, size int, body func(place string)) {
	if size > 0 {
		for ky := range size {
			row := base
			if ky > 0 {
				f.op("ADDQ", "R9", "R10")
				row = "R10"
			} else {
				f.op("MOVQ", base, "R10")
			}
			for kx := range size {
				body(at(64*kx, row))
			}
		}
		return
	}
	f.op("MOVQ", base, "R10")
	f.op("MOVQ", "R8", "R11")
	f.label("row")
	f.op("MOVQ", "R10", "R12")
	f.op("MOVQ", "R8", "R13")
	f.label("tap")
	body("(R12)")
	f.op("ADDQ", "$64", "R12")
	f.op("DECQ", "R13")
	f.op("JNE", "tap")
	f.op("ADDQ", "R9", "R10")
	f.op("DECQ", "R11")
	f.op("JNE", "row")
}

// poolStart loads the arguments: x in SI, y in DI, choice in DX, the number of results in BX, the step of x in CX, side
// and pitch of the window in R8 and R9.
func poolStart(f *asm) {
	f.op("MOVQ", "arg+0(FP)", "AX")
	for _, o := range []struct {
		offset   int
		register string
	}{{poolX, "SI"}, {poolY, "DI"}, {poolChoice, "DX"}, {poolCount, "BX"}, {poolStep, "CX"}, {poolSize, "R8"}, {poolPitch, "R9"}} {
		f.op("MOVQ", at(o.offset, "AX"), o.register)
	}
}

// offsetPlace moves a memory operand on by so many bytes.
func offsetPlace(place string, offset int) string {
	if offset == 0 {
		return place
	}
	if place[0] == '(' {
		return fmt.Sprint(offset) + place
	}
	var first int
	var rest string
	if _, err := fmt.Sscanf(place, "%d%s", &first, &rest); err != nil {
		panic(err)
	}
	return fmt.Sprint(first+offset) + rest
}

// maxPool writes the forward function. Registers: 0 and 1 the maxima, 2 and 3 the choices, 4 to 7 free, 8 the number
// of the tap, 9 ones, 10 the floor, 11 what no choice is where it is told from the maximum, 12 zeros.
func maxPool(f *asm, s isa, size int, choose bool) {
	name, note := fmt.Sprintf("maxPool%dx%d", 32*s.lanes, size), "y = the maximum of a window and floor, in which NaN wins"
	if choose {
		name, note = fmt.Sprintf("maxPoolChoose%dx%d", 32*s.lanes, size), note+", and the choices"
	}
	f.text(name, 8, note+".")
	halves := s.halves()
	poolStart(f)
	f.op("VBROADCASTSS", at(poolFloor, "AX"), s.reg(10))
	if choose {
		f.op("VPBROADCASTD", at(poolNone, "AX"), s.reg(11))
		f.op("MOVL", "$1", "R10")
		f.op("VMOVD", "R10", "X9")
		f.op("VPBROADCASTD", "X9", s.reg(9))
		s.zero(f, 12)
	}
	f.label("window")
	for h := range halves {
		f.op("VMOVUPS", at(32*h, "SI"), s.reg(h))
		if choose {
			s.zero(f, 2+h)
		}
	}
	if choose {
		s.zero(f, 8)
	}
	eachTap(f, "SI", size, func(place string) {
		for h := range halves {
			most, choice, v, t := s.reg(h), s.reg(2+h), s.reg(4+h), s.reg(6+h)
			f.op("VMOVUPS", offsetPlace(place, 32*h), v)
			switch {
			case choose && s.lanes == 16:
				f.op("VCMPPS", "$0x1e", most, v, "K1")
				f.op("VMOVDQA32", s.reg(8), "K1", choice)
			case choose:
				f.op("VCMPPS", "$0x1e", most, v, t)
				f.op("VBLENDVPS", t, s.reg(8), choice, choice)
			}
			// Where either is NaN, a maximum is its first operand here: together they keep both.
			f.op("VMAXPS", v, most, t)
			f.op("VMAXPS", most, v, most)
			f.op("VORPS", t, most, most)
		}
		if choose {
			f.op("VPADDD", s.reg(9), s.reg(8), s.reg(8))
		}
	})
	if choose {
		f.note("Where the maximum is not above 0, register 11 tells what to set in the choice.")
		for h := range halves {
			if s.lanes == 16 {
				f.op("VCMPPS", "$0x12", s.reg(12), s.reg(h), "K1")
				f.op("VPORD", s.reg(11), s.reg(2+h), "K1", s.reg(2+h))
				continue
			}
			f.op("VCMPPS", "$0x12", s.reg(12), s.reg(h), s.reg(6))
			f.op("VANDPS", s.reg(11), s.reg(6), s.reg(6))
			f.op("VORPS", s.reg(6), s.reg(2+h), s.reg(2+h))
		}
		if s.lanes == 16 {
			f.op("VPMOVDB", "Z2", "(DX)")
		} else {
			f.op("VPACKUSDW", "Y3", "Y2", "Y2")
			f.op("VPERMQ", "$0xd8", "Y2", "Y2")
			f.op("VEXTRACTI128", "$1", "Y2", "X3")
			f.op("VPACKUSWB", "X3", "X2", "X2")
			f.op("VMOVDQU", "X2", "(DX)")
		}
		f.op("ADDQ", "$16", "DX")
	}
	for h := range halves {
		f.op("VMAXPS", s.reg(h), s.reg(10), s.reg(h))
		f.op("VMOVUPS", s.reg(h), at(32*h, "DI"))
	}
	f.op("ADDQ", "CX", "SI")
	f.op("ADDQ", "$64", "DI")
	f.op("DECQ", "BX")
	f.op("JNE", "window")
	f.ret()
}

// maxPoolGradient writes the backward function: y is the gradient of the results, x that of the windows.
func maxPoolGradient(f *asm, s isa, size int, add bool) {
	name, note := fmt.Sprintf("maxPoolGradient%dx%d", 32*s.lanes, size), "Sets each window to the gradient at the chosen value, 0 elsewhere."
	if add {
		name, note = fmt.Sprintf("maxPoolGradientAdd%dx%d", 32*s.lanes, size), "Adds to each window the gradient at the chosen value."
	}
	f.text(name, 8, note)
	halves := s.halves()
	poolStart(f)
	f.op("MOVL", "$1", "R10")
	f.op("VMOVD", "R10", "X9")
	f.op("VPBROADCASTD", "X9", s.reg(9))
	f.label("window")
	for h := range halves {
		f.op("VMOVUPS", at(32*h, "DI"), s.reg(h))
		f.op("VPMOVZXBD", at(8*h, "DX"), s.reg(2+h))
	}
	s.zero(f, 8)
	eachTap(f, "SI", size, func(place string) {
		for h := range halves {
			t := s.reg(4 + h)
			if s.lanes == 16 {
				f.op("VPCMPEQD", s.reg(2+h), s.reg(8), "K1")
				f.op("VMOVUPS.Z", s.reg(h), "K1", t)
			} else {
				f.op("VPCMPEQD", s.reg(2+h), s.reg(8), t)
				f.op("VANDPS", s.reg(h), t, t)
			}
			if add {
				f.op("VADDPS", offsetPlace(place, 32*h), t, t)
			}
			f.op("VMOVUPS", t, offsetPlace(place, 32*h))
		}
		f.op("VPADDD", s.reg(9), s.reg(8), s.reg(8))
	})
	f.op("ADDQ", "CX", "SI")
	f.op("ADDQ", "$64", "DI")
	f.op("ADDQ", "$16", "DX")
	f.op("DECQ", "BX")
	f.op("JNE", "window")
	f.ret()
}

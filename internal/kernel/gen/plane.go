package main

import "fmt"

// planeFile holds the forces between points of a plane.
func planeFile() []byte {
	f := newFile(`
Forces between a point and n others, with w = 1/(1+d^2) of the distance. The sums run in 16 lanes, point i in lane i%16,
which are then added as a tree.`)
	maskTable(f)
	f.WriteString("\nDATA planeOne<>+0(SB)/4, $0x3f800000\nGLOBL planeOne<>(SB), RODATA|NOPTR, $4\n")
	f.WriteString("\n// Puts the pairs that VSHUFPS leaves in turns of two registers in order.\n")
	for i, from := range []int{0, 2, 4, 6, 1, 3, 5, 7} {
		fmt.Fprintf(f, "DATA planePairs<>+%d(SB)/8, $%d\n", 8*i, from)
	}
	f.WriteString("GLOBL planePairs<>(SB), RODATA|NOPTR, $64\n")
	for _, s := range []isa{avx512, avx2} {
		planeForce(f, s, true)
		planeForce(f, s, false)
	}
	return f.Bytes()
}

// planeForce writes the function that sums m*w*w*(p - q) over the points q, and m*w; or, where repel is not set, m*w*(p - q)
// alone, over points that are gathered by their numbers.
func planeForce(f *asm, s isa, repel bool) {
	name, args, first, second, sums := "attract", 48, "places", "at", []string{"fx+40(FP)", "fy+44(FP)"}
	if repel {
		name, args, first, second, sums = "repel", 52, "x", "y", append(sums, "sum+48(FP)")
	}
	f.text(fmt.Sprintf("%s%d", name, 32*s.lanes), args, "The forces of n points of masses m on the point (px, py).")
	f.op("MOVQ", first+"+0(FP)", "SI")
	f.op("MOVQ", second+"+8(FP)", "DI")
	f.op("MOVQ", "m+16(FP)", "R8")
	f.op("MOVQ", "n+24(FP)", "BX")
	const fx, fy, sum, px, py, one, dx, dy, w, mask = 2, 4, 6, 8, 9, 10, 11, 12, 13, 15
	f.op("VBROADCASTSS", "px+32(FP)", s.reg(px))
	f.op("VBROADCASTSS", "py+36(FP)", s.reg(py))
	f.op("VBROADCASTSS", "planeOne<>(SB)", s.reg(one))
	for _, r := range []int{fx, fy, sum}[:len(sums)] {
		for h := range s.halves() {
			s.zero(f, r+h)
		}
	}
	if !repel && s.lanes == 16 {
		f.op("VMOVDQU64", "planePairs<>(SB)", "Z16")
	}
	// gather puts the places whose numbers register 14 holds into dx and dy, in order.
	gather := func() {
		const other = 7
		if s.lanes == 16 {
			f.op("VEXTRACTI64X4", "$1", "Z14", "Y15")
			f.op("KXNORW", "K2", "K2", "K2")
			f.op("VPGATHERDQ", "(SI)(Y14*8)", "K2", "Z0")
			f.op("KXNORW", "K3", "K3", "K3")
			f.op("VPGATHERDQ", "(SI)(Y15*8)", "K3", s.reg(other))
		} else {
			f.op("VPCMPEQD", "Y6", "Y6", "Y6")
			f.op("VPGATHERDQ", "Y6", "(SI)(X14*8)", "Y0")
			f.op("VEXTRACTI128", "$1", "Y14", "X14")
			f.op("VPCMPEQD", "Y6", "Y6", "Y6")
			f.op("VPGATHERDQ", "Y6", "(SI)(X14*8)", s.reg(other))
		}
		for i, r := range []int{dx, dy} {
			f.op("VSHUFPS", []string{"$0x88", "$0xdd"}[i], s.reg(other), s.reg(0), s.reg(r))
			if s.lanes == 16 {
				f.op("VPERMPD", s.reg(r), "Z16", s.reg(r))
			} else {
				f.op("VPERMPD", "$0xd8", s.reg(r), s.reg(r))
			}
		}
	}
	act := func(h int, x, y, m string) {
		f.op("VSUBPS", x, s.reg(px), s.reg(dx))
		f.op("VSUBPS", y, s.reg(py), s.reg(dy))
		f.op("VMOVAPS", s.reg(one), s.reg(w))
		f.op("VFMADD231PS", s.reg(dx), s.reg(dx), s.reg(w))
		f.op("VFMADD231PS", s.reg(dy), s.reg(dy), s.reg(w))
		f.op("VDIVPS", s.reg(w), s.reg(one), s.reg(w))
		f.op("VMULPS", m, s.reg(w), s.reg(0))
		if repel {
			f.op("VADDPS", s.reg(0), s.reg(sum+h), s.reg(sum+h))
			f.op("VMULPS", s.reg(w), s.reg(0), s.reg(0))
		}
		f.op("VFMADD231PS", s.reg(0), s.reg(dx), s.reg(fx+h))
		f.op("VFMADD231PS", s.reg(0), s.reg(dy), s.reg(fy+h))
	}
	f.op("SUBQ", "$16", "BX")
	f.op("JLT", "rest")
	f.label("loop")
	for h := range s.halves() {
		if repel {
			act(h, at(32*h, "SI"), at(32*h, "DI"), at(32*h, "R8"))
			continue
		}
		s.load(f, at(32*h, "DI"), 14, -1)
		gather()
		act(h, s.reg(dx), s.reg(dy), at(32*h, "R8"))
	}
	for _, p := range []string{"SI", "DI", "R8"} {
		if p == "SI" && !repel {
			continue
		}
		f.op("ADDQ", "$64", p)
	}
	f.op("SUBQ", "$16", "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", "$16", "BX")
	f.op("JEQ", "end")
	f.note("What is past the end has mass 0.")
	s.masks(f, "BX", 1)
	for h := range s.halves() {
		m := s.mask(f, h, mask)
		s.load(f, at(32*h, "R8"), 1, m)
		if repel {
			s.load(f, at(32*h, "SI"), dx, m)
			s.load(f, at(32*h, "DI"), dy, m)
		} else {
			s.load(f, at(32*h, "DI"), 14, m) // the first place for those past the end
			gather()
		}
		act(h, s.reg(dx), s.reg(dy), s.reg(1))
	}
	f.label("end")
	for i, to := range sums {
		for h := range s.halves() {
			f.op("VMOVAPS", s.reg(2+2*i+h), s.reg(h))
		}
		s.sumLanes(f)
		f.op("VMOVSS", "X0", to)
	}
	f.ret()
}

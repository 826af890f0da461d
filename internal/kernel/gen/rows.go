package main

import (
	"fmt"
	"math"
)

// rowsFile holds what losses do along rows of distances.
func rowsFile() []byte {
	f := newFile(`
What losses do along rows of distances or similarities. Sums run in 16 lanes, value i in lane i%16, which are then added
as a tree.`)
	maskTable(f)
	for i, c := range expConstants {
		for lane := range 8 {
			fmt.Fprintf(f, "DATA expTable<>+%d(SB)/4, $0x%08x\n", 32*i+4*lane, c.bits)
		}
	}
	fmt.Fprintf(f, "GLOBL expTable<>(SB), RODATA|NOPTR, $%d\n", 32*len(expConstants))
	for _, s := range []isa{avx512, avx2} {
		bits := 32 * s.lanes
		step := s.bytes()

		f.text(fmt.Sprintf("sqrt%d", bits), 16, "x = the square root of x, n values.")
		f.op("MOVQ", "x+0(FP)", "SI")
		f.op("MOVQ", "n+8(FP)", "BX")
		s.along(f, []string{"SI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "SI"), i, mask)
				f.op("VSQRTPS", s.reg(i), s.reg(i))
				s.store(f, i, at(i*step, "SI"), mask)
			}
		})
		f.ret()

		f.text(fmt.Sprintf("quotient%d", bits), 28, "w = scale*w/d, or 0 where d is 0, n values.")
		f.op("MOVQ", "w+0(FP)", "SI")
		f.op("MOVQ", "d+8(FP)", "DI")
		f.op("MOVQ", "n+16(FP)", "BX")
		f.op("VBROADCASTSS", "scale+24(FP)", s.reg(13))
		s.zero(f, 14)
		s.along(f, []string{"SI", "DI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "SI"), i, mask)
				s.load(f, at(i*step, "DI"), 4+i, mask)
				f.op("VMULPS", s.reg(13), s.reg(i), s.reg(i))
				f.op("VDIVPS", s.reg(4+i), s.reg(i), s.reg(i))
				if s.lanes == 16 {
					f.op("VCMPPS", "$4", s.reg(14), s.reg(4+i), "K2")
					f.op("VMOVUPS.Z", s.reg(i), "K2", s.reg(i))
				} else {
					f.op("VCMPPS", "$4", s.reg(14), s.reg(4+i), s.reg(4+i))
					f.op("VANDPS", s.reg(4+i), s.reg(i), s.reg(i))
				}
				s.store(f, i, at(i*step, "SI"), mask)
			}
		})
		f.ret()

		f.text(fmt.Sprintf("countBelow%d", bits), 32, "The number of the n values of x that are below bound.")
		f.op("MOVQ", "x+0(FP)", "SI")
		f.op("MOVQ", "n+8(FP)", "BX")
		f.op("VBROADCASTSS", "bound+16(FP)", s.reg(14))
		f.op("XORQ", "AX", "AX")
		s.along(f, []string{"SI"}, func(count, mask int) {
			for i := range count {
				s.load(f, at(i*step, "SI"), i, mask)
				switch {
				case s.lanes == 16 && mask >= 0:
					f.op("VCMPPS", "$0x11", s.reg(14), s.reg(i), "K1", "K2")
				case s.lanes == 16:
					f.op("VCMPPS", "$0x11", s.reg(14), s.reg(i), "K2")
				default:
					f.op("VCMPPS", "$0x11", s.reg(14), s.reg(i), s.reg(i))
					if mask >= 0 {
						f.op("VANDPS", s.reg(mask), s.reg(i), s.reg(i))
					}
				}
				if s.lanes == 16 {
					f.op("KMOVW", "K2", "DX")
				} else {
					f.op("VMOVMSKPS", s.reg(i), "DX")
				}
				f.op("POPCNTL", "DX", "DX")
				f.op("ADDQ", "DX", "AX")
			}
		})
		f.op("MOVQ", "AX", "ret+24(FP)")
		f.ret()

		rowRange(f, s)
		expSum(f, s)
		symmetrize(f, s)
	}
	return f.Bytes()
}

// sixteens writes a loop over BX values, 16 at a time, that moves on the pointers: body handles 16 values or, with tail
// set, as many as the masks say.
func (s isa) sixteens(f *asm, pointers []string, body func(tail bool)) {
	f.op("SUBQ", "$16", "BX")
	f.op("JLT", "rest")
	f.label("loop")
	body(false)
	for _, p := range pointers {
		f.op("ADDQ", "$64", p)
	}
	f.op("SUBQ", "$16", "BX")
	f.op("JGE", "loop")
	f.label("rest")
	f.op("ADDQ", "$16", "BX")
	f.op("JEQ", "end")
	s.masks(f, "BX", 1)
	body(true)
	f.label("end")
}

// rowRange writes the function that finds the least and the largest value and the least one above a bound. Registers by
// half: 0 least, 2 most, 4 least above, 6 values, 8 free; 14 infinity, 15 the bound.
func rowRange(f *asm, s isa) {
	f.text(fmt.Sprintf("rowRange%d", 32*s.lanes), 28, "Sets out to the least and the largest of n values of x and the least one above a bound.")
	f.op("MOVQ", "x+0(FP)", "SI")
	f.op("MOVQ", "out+8(FP)", "DI")
	f.op("MOVQ", "n+16(FP)", "BX")
	f.op("VBROADCASTSS", "bound+24(FP)", s.reg(15))
	f.op("MOVL", fmt.Sprintf("$0x%08x", math.Float32bits(float32(math.Inf(1)))), "AX")
	f.op("VMOVD", "AX", "X14")
	f.op("VBROADCASTSS", "X14", s.reg(14))
	f.op("MOVL", fmt.Sprintf("$0x%08x", math.Float32bits(float32(math.Inf(-1)))), "AX")
	f.op("VMOVD", "AX", "X13")
	f.op("VBROADCASTSS", "X13", s.reg(13))
	halves := s.halves()
	for h := range halves {
		f.op("VMOVUPS", s.reg(14), s.reg(h))
		f.op("VMOVUPS", s.reg(13), s.reg(2+h))
		f.op("VMOVUPS", s.reg(14), s.reg(4+h))
	}
	s.sixteens(f, []string{"SI"}, func(tail bool) {
		for h := range halves {
			v, t := s.reg(6+h), s.reg(8+h)
			low, high := v, v
			if !tail {
				f.op("VMOVUPS", at(32*h, "SI"), v)
			} else if s.lanes == 16 {
				s.load(f, at(32*h, "SI"), 6+h, 1)
				f.op("VMOVUPS", s.reg(14), s.reg(10))
				f.op("VMOVUPS", v, "K1", s.reg(10))
				f.op("VMOVUPS", s.reg(13), s.reg(11))
				f.op("VMOVUPS", v, "K1", s.reg(11))
				low, high = s.reg(10), s.reg(11)
			} else {
				m := s.mask(f, h, 12)
				s.load(f, at(32*h, "SI"), 6+h, m)
				f.op("VBLENDVPS", s.reg(m), v, s.reg(14), s.reg(10))
				f.op("VBLENDVPS", s.reg(m), v, s.reg(13), s.reg(11))
				low, high = s.reg(10), s.reg(11)
			}
			f.op("VMINPS", s.reg(h), low, s.reg(h))
			f.op("VMAXPS", s.reg(2+h), high, s.reg(2+h))
			if s.lanes == 16 {
				f.op("VCMPPS", "$0x1e", s.reg(15), low, "K2")
				f.op("VMINPS", s.reg(4+h), low, "K2", s.reg(4+h))
				continue
			}
			f.op("VCMPPS", "$0x1e", s.reg(15), low, t)
			f.op("VBLENDVPS", t, low, s.reg(14), t)
			f.op("VMINPS", s.reg(4+h), t, s.reg(4+h))
		}
	})
	for i, op := range []string{"VMINPS", "VMAXPS", "VMINPS"} {
		acc := 2 * i
		if s.lanes == 16 {
			f.op("VEXTRACTF64X4", "$1", s.reg(acc), fmt.Sprintf("Y%d", acc+1))
		}
		x, y := fmt.Sprintf("X%d", acc), fmt.Sprintf("X%d", acc+1)
		f.op(op, fmt.Sprintf("Y%d", acc+1), fmt.Sprintf("Y%d", acc), fmt.Sprintf("Y%d", acc))
		f.op("VEXTRACTF128", "$1", fmt.Sprintf("Y%d", acc), y)
		f.op(op, y, x, x)
		f.op("VPERMILPS", "$0x4e", x, y)
		f.op(op, y, x, x)
		f.op("VPERMILPS", "$0xb1", x, y)
		f.op(op, y, x, x)
		f.op("VMOVSS", x, at(4*i, "DI"))
	}
	f.ret()
}

// expConstant is a constant of the exponential function.
type expConstant struct {
	name string
	bits uint32
}

func expFloat(name string, v float64) expConstant {
	return expConstant{name, math.Float32bits(float32(v))}
}

// expLn2 is ln 2 in 15 bits: its product with a whole number below 512 is exact.
const expLn2 = 0x1.62e4p-1

// expConstants are those of exp32 in rows.go.
var expConstants = []expConstant{
	expFloat("least", -104), expFloat("most", 89), expFloat("log2e", math.Log2E), expFloat("round", 0x1.8p23),
	expFloat("ln2 high", expLn2), expFloat("ln2 low", math.Ln2-expLn2),
	expFloat("7", 1.0/5040), expFloat("6", 1.0/720), expFloat("5", 1.0/120), expFloat("4", 1.0/24),
	expFloat("3", 1.0/6), expFloat("2", 1.0/2), expFloat("1", 1), {"bias", 127},
}

// expSum writes y = exp((x-center)*scale) and the sum of y. With x the exponent, in registers of half h: 0 sum, 2 x,
// 4 the whole number n next to x/ln 2, 6 the same as a float, then 2^(n/2), 8 the polynomial.
func expSum(f *asm, s isa) {
	f.text(fmt.Sprintf("expSum%d", 32*s.lanes), 36, "y = exp((x-center)*scale), n values, and their sum.")
	halves := s.halves()
	constant := func(name string) string {
		for i, c := range expConstants {
			if c.name == name {
				if s.lanes == 16 {
					return s.reg(16 + i)
				}
				return fmt.Sprintf("expTable<>+%d(SB)", 32*i)
			}
		}
		panic(name)
	}
	if s.lanes == 16 {
		for i := range expConstants {
			f.op("VBROADCASTSS", fmt.Sprintf("expTable<>+%d(SB)", 32*i), s.reg(16+i))
		}
	}
	f.op("MOVQ", "y+0(FP)", "DI")
	f.op("MOVQ", "x+8(FP)", "SI")
	f.op("MOVQ", "n+16(FP)", "BX")
	f.op("VBROADCASTSS", "center+24(FP)", s.reg(14))
	f.op("VBROADCASTSS", "scale+28(FP)", s.reg(15))
	for h := range 2 {
		s.zero(f, h)
	}
	s.sixteens(f, []string{"SI", "DI"}, func(tail bool) {
		for h := range halves {
			mask := -1
			if tail {
				mask = s.mask(f, h, 10+h)
			}
			x, n, t, p := s.reg(2+h), s.reg(4+h), s.reg(6+h), s.reg(8+h)
			s.load(f, at(32*h, "SI"), 2+h, mask)
			f.op("VSUBPS", s.reg(14), x, x)
			f.op("VMULPS", s.reg(15), x, x)
			// NaN stays: a minimum or maximum is its first operand then.
			f.op("VMOVUPS", constant("most"), t)
			f.op("VMINPS", x, t, x)
			f.op("VMOVUPS", constant("least"), t)
			f.op("VMAXPS", x, t, x)
			f.op("VMOVUPS", constant("round"), n)
			f.op("VFMADD231PS", constant("log2e"), x, n)
			f.op("VSUBPS", constant("round"), n, t)
			f.op("VFNMADD231PS", constant("ln2 high"), t, x)
			f.op("VFNMADD231PS", constant("ln2 low"), t, x)
			f.op("VMOVUPS", constant("7"), p)
			for _, c := range []string{"6", "5", "4", "3", "2", "1", "1"} {
				f.op("VFMADD213PS", constant(c), x, p)
			}
			f.note("n, halved, goes into the exponents of two factors.")
			f.op("VPSUBD", constant("round"), n, n)
			f.op("VPSRAD", "$1", n, t)
			f.op("VPSUBD", t, n, n)
			for _, r := range []string{t, n} {
				f.op("VPADDD", constant("bias"), r, r)
				f.op("VPSLLD", "$23", r, r)
				f.op("VMULPS", r, p, p)
			}
			switch {
			case !tail:
				f.op("VADDPS", p, s.reg(h), s.reg(h))
			case s.lanes == 16:
				f.op("VADDPS", p, s.reg(h), "K1", s.reg(h))
			default:
				f.op("VANDPS", s.reg(mask), p, t)
				f.op("VADDPS", t, s.reg(h), s.reg(h))
			}
			s.store(f, 8+h, at(32*h, "DI"), mask)
		}
	})
	s.sumLanes(f)
	f.op("VMOVSS", "X0", "ret+32(FP)")
	f.ret()
}

// symmetrize writes the function that adds two squares of a matrix to each other, one of them transposed.
func symmetrize(f *asm, s isa) {
	f.text(fmt.Sprintf("symmetrize%d", 32*s.lanes), 24,
		fmt.Sprintf("a += the transpose of b, %d by %d values in rows ld bytes apart, and b = the transpose of a.", s.lanes, s.lanes))
	f.op("MOVQ", "a+0(FP)", "SI")
	f.op("MOVQ", "b+8(FP)", "DI")
	f.op("MOVQ", "ld+16(FP)", "R8")
	rows := make([]int, s.lanes)
	each := func(base string, body func(i int)) {
		f.op("MOVQ", base, "DX")
		for i := range rows {
			body(i)
			if i < len(rows)-1 {
				f.op("ADDQ", "R8", "DX")
			}
		}
	}
	each("DI", func(i int) {
		rows[i] = i
		f.op("VMOVUPS", "(DX)", s.reg(i))
	})
	sums, spare := s.transpose(f, rows, s.lanes)
	each("SI", func(i int) { f.op("VADDPS", "(DX)", s.reg(sums[i]), s.reg(sums[i])) })
	each("SI", func(i int) { f.op("VMOVUPS", s.reg(sums[i]), "(DX)") })
	mirror, _ := s.transpose(f, sums, spare)
	each("DI", func(i int) { f.op("VMOVUPS", s.reg(mirror[i]), "(DX)") })
	f.ret()
}

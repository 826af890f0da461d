package main

import "fmt"

// peakFile holds the loops that measure what the processor can do at most.
func peakFile() []byte {
	f := newFile(`Loops of independent fused multiply-adds between registers, for Peak.`)
	for _, s := range []isa{avx512, avx2} {
		f.text(fmt.Sprintf("peak%d", 32*s.lanes), 8, fmt.Sprintf("Does n times 12 multiply-adds of %d lanes.", s.lanes))
		f.op("MOVQ", "n+0(FP)", "CX")
		for i := range 14 {
			s.zero(f, i)
		}
		f.label("loop")
		for i := range 12 {
			f.op("VFMADD231PS", s.reg(12), s.reg(13), s.reg(i))
		}
		f.op("DECQ", "CX")
		f.op("JNE", "loop")
		f.ret()
	}
	return f.Bytes()
}

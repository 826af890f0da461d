package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Go's assembler does not know the instructions of AVX512-BF16. They are written as bytes here, on 512-bit registers:
// prefix EVEX (62 and three bytes), opcode, ModRM, SIB, displacement (Intel, Software Developer's Manual, volume 2,
// section 2.7).

// evexOp is an instruction of opcode map 0F38 with W 0 and a full-vector tuple of 32-bit values: a displacement of one
// byte counts 64 bytes or, where the operand is a broadcast value, 4.
type evexOp struct {
	name   string
	prefix byte // 2 is F3, 3 is F2
	opcode byte
	unary  bool // one source only
}

var (
	// vdpbf16ps adds to each float32 of dst the products of two pairs of bfloat16 values.
	vdpbf16ps = evexOp{"VDPBF16PS", 2, 0x52, false}
	// vcvtne2ps2bf16 rounds src into the lower half of dst and src1 into the upper half.
	vcvtne2ps2bf16 = evexOp{"VCVTNE2PS2BF16", 3, 0x72, false}
	// vcvtneps2bf16 rounds src into the 256-bit register dst.
	vcvtneps2bf16 = evexOp{"VCVTNEPS2BF16", 2, 0x72, true}
)

// evexSource is the last source of an instruction: a register, or what lies in memory.
type evexSource struct {
	register int
	base     string // "": the register
	index    string // "": none
	scale    int    // of the index: 1, 2, 4 or 8
	offset   int
	bcst     bool // one 32-bit value for all lanes
}

// zmm is a register as the last source.
func zmm(i int) evexSource { return evexSource{register: i} }

// generalRegisters lists Go's names in the order of their numbers.
var generalRegisters = []string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

func (s evexSource) String() string {
	switch {
	case s.base == "":
		return fmt.Sprintf("Z%d", s.register)
	case s.index == "":
		return at(s.offset, s.base)
	}
	return atIndex(s.offset, s.base, s.index, s.scale)
}

// encode returns the bytes of the instruction.
func (o evexOp) encode(src evexSource, src1, dst int) []byte {
	bit := func(v, i int) byte { return byte(v >> i & 1) }
	number := func(name string) int {
		i := slices.Index(generalRegisters, name)
		if i < 0 {
			panic("no general register " + name)
		}
		return i
	}
	var x, b byte // bits 3 of index and base, or bits 4 and 3 of the register
	var tail []byte
	reg := byte(dst&7) << 3
	if src.base == "" {
		x, b = bit(src.register, 4), bit(src.register, 3)
		tail = []byte{0xc0 | reg | byte(src.register&7)}
	} else {
		base := number(src.base)
		b = bit(base, 3)
		unit := 64
		if src.bcst {
			unit = 4
		}
		var mode byte
		var displacement []byte
		switch q := src.offset / unit; {
		case src.offset == 0 && base&7 != 5: // BP and R13 need a displacement
		case src.offset%unit == 0 && q >= -128 && q <= 127:
			mode, displacement = 0x40, []byte{byte(q)}
		default:
			mode, displacement = 0x80, binary.LittleEndian.AppendUint32(nil, uint32(int32(src.offset)))
		}
		if src.index == "" && base&7 != 4 {
			tail = []byte{mode | reg | byte(base&7)}
		} else {
			sib := byte(4<<3 | base&7) // no index
			if src.index != "" {
				index := number(src.index)
				if index == 4 {
					panic("SP is no index")
				}
				x = bit(index, 3)
				sib = byte(slices.Index([]int{1, 2, 4, 8}, src.scale)<<6 | index&7<<3 | base&7)
			}
			tail = []byte{mode | reg | 4, sib}
		}
		tail = append(tail, displacement...)
	}
	// Register bits are stored inverted.
	p0 := (1-bit(dst, 3))<<7 | (1-x)<<6 | (1-b)<<5 | (1-bit(dst, 4))<<4 | 2
	p1 := byte(^src1&15)<<3 | 4 | o.prefix
	p2 := byte(2<<5) | (1-bit(src1, 4))<<3
	if src.bcst {
		p2 |= 1 << 4
	}
	return append([]byte{0x62, p0, p1, p2, o.opcode}, tail...)
}

// evex writes an instruction as bytes, beside a comment that names it. src1 of a unary one is 0.
func (f *asm) evex(o evexOp, src evexSource, src1, dst int) {
	code := o.encode(src, src1, dst)
	var parts []string
	for len(code) > 0 {
		switch {
		case len(code) >= 4:
			parts = append(parts, fmt.Sprintf("LONG $0x%08x", binary.LittleEndian.Uint32(code)))
			code = code[4:]
		case len(code) >= 2:
			parts = append(parts, fmt.Sprintf("WORD $0x%04x", binary.LittleEndian.Uint16(code)))
			code = code[2:]
		default:
			parts = append(parts, fmt.Sprintf("BYTE $0x%02x", code[0]))
			code = code[1:]
		}
	}
	operands := []string{src.String()}
	name := o.name
	if src.bcst {
		name += ".BCST"
	}
	if o.unary {
		operands = append(operands, fmt.Sprintf("Y%d", dst))
	} else {
		operands = append(operands, fmt.Sprintf("Z%d", src1), fmt.Sprintf("Z%d", dst))
	}
	fmt.Fprintf(f, "\t%s // %s %s\n", strings.Join(parts, "; "), name, strings.Join(operands, ", "))
}

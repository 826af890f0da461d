package main

import (
	"fmt"
	"math"
)

// Layout of the argument structs of winograd_amd64.go.
const (
	wtSource, wtSourceRow, wtSourceNext, wtTarget, wtPlane, wtTargetNext, wtCount = 0, 8, 16, 24, 32, 40, 48

	woBias, woAdd, woReLU = 56, 64, 72

	wpA, wpAPitch, wpAPlane, wpB, wpBPitch, wpBNext, wpBPlane, wpC, wpCPitch, wpCNext, wpCPlane, wpK, wpPositions = 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96
)

// The largest tiles of a product, in rows; 14 rows by two registers, or 6 rows by two half blocks.
const productRows512, productRows256 = 14, 6

// The points at which polynomials are evaluated are 0, a, -a, b, -b and infinity: see winograd.go.
const winogradA, winogradB = 0.75, 1.5

// winogradConstants are the factors of the transforms, by name.
var winogradConstants = []struct {
	name  string
	value float64
}{
	{"a", winogradA},
	{"b", winogradB},
	{"aa", winogradA * winogradA},
	{"bb", winogradB * winogradB},
	{"aaa", winogradA * winogradA * winogradA},
	{"bbb", winogradB * winogradB * winogradB},
	{"product", winogradA * winogradA * winogradB * winogradB},
	{"sum", winogradA*winogradA + winogradB*winogradB},
	{"n0", 1 / (winogradA * winogradA * winogradB * winogradB)},
	{"na", 1 / (2 * winogradA * winogradA * (winogradA*winogradA - winogradB*winogradB))},
	{"nb", 1 / (2 * winogradB * winogradB * (winogradB*winogradB - winogradA*winogradA))},
	{"ana", winogradA / (2 * winogradA * winogradA * (winogradA*winogradA - winogradB*winogradB))},
	{"bnb", winogradB / (2 * winogradB * winogradB * (winogradB*winogradB - winogradA*winogradA))},
	{"aana", winogradA * winogradA / (2 * winogradA * winogradA * (winogradA*winogradA - winogradB*winogradB))},
	{"bbnb", winogradB * winogradB / (2 * winogradB * winogradB * (winogradB*winogradB - winogradA*winogradA))},
}

func winogradFile() []byte {
	f := newFile(`
Winograd convolutions, F(4x4, 3x3), on activations in blocks of 16 channels: the transforms of tiles and filters, and the
products of the transformed ones. AVX2 does half a block at a time.`)
	winogradData(f)
	for _, s := range []isa{avx512, avx2} {
		winogradInput(f, s, "Input", (*transformer).store)
		winogradOutput(f, s)
		winogradGradient(f, s, "Gradient", (*transformer).store)
		winogradFilter(f, s)
		winogradFilterGradient(f, s)
		rows, vecs := productRows512, []int{1, 2}
		if s.lanes == 8 {
			rows, vecs = productRows256, []int{2}
		}
		for _, v := range vecs {
			for r := 1; r <= rows; r++ {
				winogradProduct(f, s, float32Terms, r, v, false)
				winogradProduct(f, s, float32Terms, r, v, true)
			}
		}
	}
	return f.Bytes()
}

// winogradData writes the constants.
func winogradData(f *asm) {
	f.WriteByte('\n')
	for i, c := range winogradConstants {
		for lane := 0; lane < 8; lane++ {
			bits := uint64(math.Float32bits(float32(c.value)))
			fmt.Fprintf(f, "DATA winogradConstants<>+%d(SB)/8, $%#x\n", 64*i+8*lane, bits<<32|bits)
		}
	}
	fmt.Fprintf(f, "GLOBL winogradConstants<>(SB), RODATA|NOPTR, $%d\n", 64*len(winogradConstants))
}

// winogradStubs returns the Go side of winograd_amd64.s.
func winogradStubs() []byte {
	f := newStubs()
	for _, s := range []isa{avx512, avx2} {
		bits := 32 * s.lanes
		rows, vecs := productRows512, []int{1, 2}
		if s.lanes == 8 {
			rows, vecs = productRows256, []int{2}
		}
		for _, kind := range []string{"Product", "Outer"} {
			fmt.Fprintf(f, "\n// winograd%s%d computes so many rows by so many registers of columns.\n", kind, bits)
			fmt.Fprintf(f, "func winograd%s%d(rows, vecs int, arg *winogradProductArgs) {\nswitch vecs<<8 | rows {\n", kind, bits)
			for _, v := range vecs {
				for r := 1; r <= rows; r++ {
					fmt.Fprintf(f, "case %d<<8 | %d:\nwinograd%s%dx%dx%d(arg)\n", v, r, kind, bits, r, v)
				}
			}
			f.WriteString("}\n}\n")
		}
		for _, kind := range []string{"Product", "Outer"} {
			for _, v := range vecs {
				for r := 1; r <= rows; r++ {
					f.declare(fmt.Sprintf("winograd%s%dx%dx%d", kind, bits, r, v), "winogradProductArgs")
				}
			}
		}
		for _, name := range []string{"Input", "Output", "Gradient", "Filter", "FilterGradient"} {
			f.declare(fmt.Sprintf("winograd%s%d", name, bits), "winogradTransformArgs")
		}
	}
	return f.done()
}

// transformer emits the arithmetic of a transform. Its constants lie in the registers from first on, or, with AVX2, in
// memory.
type transformer struct {
	*asm
	isa
	constants map[string]string
}

func newTransformer(f *asm, s isa, first int, names ...string) *transformer {
	t := &transformer{asm: f, isa: s, constants: map[string]string{}}
	for i, name := range names {
		for j, c := range winogradConstants {
			if c.name != name {
				continue
			}
			memory := fmt.Sprintf("winogradConstants<>+%d(SB)", 64*j)
			if s.lanes == 16 {
				t.op("VMOVUPS", memory, s.reg(first+i))
				memory = s.reg(first + i)
			}
			t.constants[name] = memory
		}
	}
	return t
}

func (t *transformer) load(mem string, dst int)  { t.op("VMOVUPS", mem, t.reg(dst)) }
func (t *transformer) store(src int, mem string) { t.op("VMOVUPS", t.reg(src), mem) }
func (t *transformer) move(src, dst int)         { t.op("VMOVAPS", t.reg(src), t.reg(dst)) }
func (t *transformer) add(x, y, dst int)         { t.op("VADDPS", t.reg(y), t.reg(x), t.reg(dst)) }
func (t *transformer) sub(x, y, dst int)         { t.op("VSUBPS", t.reg(y), t.reg(x), t.reg(dst)) }
func (t *transformer) addMem(mem string, dst int) {
	t.op("VADDPS", mem, t.reg(dst), t.reg(dst))
}

// times sets dst to c*x; plus adds it to dst, minus takes it away.
func (t *transformer) times(c string, x, dst int) {
	t.op("VMULPS", t.constants[c], t.reg(x), t.reg(dst))
}
func (t *transformer) plus(c string, x, dst int) {
	t.op("VFMADD231PS", t.constants[c], t.reg(x), t.reg(dst))
}
func (t *transformer) minus(c string, x, dst int) {
	t.op("VFNMADD231PS", t.constants[c], t.reg(x), t.reg(dst))
}

// planes are the operands of the 36 planes, a row of six after the other: begin points at the first, and next goes on
// to the following row.
type planes struct {
	t *transformer
}

// pointers prepares R9, DX and R11: one, three and five planes, and R12: six.
func (t *transformer) pointers() planes {
	t.op("MOVQ", at(wtPlane, "AX"), "R9")
	t.op("LEAQ", "(R9)(R9*2)", "DX")
	t.op("LEAQ", "(R9)(R9*4)", "R11")
	t.op("LEAQ", "(DX)(DX*1)", "R12")
	return planes{t}
}

// at is plane j of the row that base points at.
func strided(j int, base, one, three, five string) string {
	switch j {
	case 0:
		return at(0, base)
	case 3:
		return atIndex(0, base, three, 1)
	case 5:
		return atIndex(0, base, five, 1)
	}
	return atIndex(0, base, one, j)
}

func (planes) at(j int, base string) string { return strided(j, base, "R9", "DX", "R11") }

// spread writes the six values that come of a line, of which each is handed over as soon as it is there.
type spread func(t *transformer, x []int, temps [3]int, out func(j, reg int))

// spreadInput is B^T of a line of six.
func spreadInput(t *transformer, x []int, temps [3]int, out func(j, reg int)) {
	u, v, w := temps[0], temps[1], temps[2]
	t.move(x[4], u)
	t.minus("sum", x[2], u)
	t.plus("product", x[0], u)
	out(0, u)
	t.move(x[5], v)
	t.minus("sum", x[3], v)
	t.plus("product", x[1], v)
	out(5, v)
	t.move(x[4], u)
	t.minus("bb", x[2], u)
	t.move(x[3], w)
	t.minus("bb", x[1], w)
	t.move(u, v)
	t.plus("a", w, v)
	out(1, v)
	t.minus("a", w, u)
	out(2, u)
	t.minus("aa", x[2], x[4])
	t.minus("aa", x[1], x[3])
	t.move(x[4], v)
	t.plus("b", x[3], v)
	out(3, v)
	t.minus("b", x[3], x[4])
	out(4, x[4])
}

// spreadGradient is A of a line of four.
func spreadGradient(t *transformer, x []int, temps [3]int, out func(j, reg int)) {
	e, o, v := temps[0], temps[1], temps[2]
	out(0, x[0])
	out(5, x[3])
	for i, c := range []string{"a", "b"} {
		t.move(x[0], e)
		t.plus(c+c, x[2], e)
		t.times(c, x[1], o)
		t.plus(c+c+c, x[3], o)
		t.add(e, o, v)
		out(1+2*i, v)
		t.sub(e, o, e)
		out(2+2*i, e)
	}
}

// spreadFilter is G of a line of three.
func spreadFilter(t *transformer, x []int, temps [3]int, out func(j, reg int)) {
	e, o, v := temps[0], temps[1], temps[2]
	t.times("n0", x[0], e)
	out(0, e)
	out(5, x[2])
	for i, c := range []string{"a", "b"} {
		t.times("n"+c, x[0], e)
		t.plus(c+c+"n"+c, x[2], e)
		t.times(c+"n"+c, x[1], o)
		t.add(e, o, v)
		out(1+2*i, v)
		t.sub(e, o, e)
		out(2+2*i, e)
	}
}

// spreadTiles writes a function that spreads squares of side n into 36 planes, a column after the other and then a row
// after the other. vertical writes two rows of column j, from its values at mem, into registers. Three rounds make
// rows 1 and 2, 3 and 4, 5 and 0.
func spreadTiles(f *asm, s isa, name, note string, n int, constants []string, store func(t *transformer, reg int, mem string), line spread,
	vertical func(t *transformer, round int, mem func(i int) string, first, second int, temps [3]int)) {
	f.text(winogradName(name, s), 8, note)
	f.op("MOVQ", "arg+0(FP)", "AX")
	t := newTransformer(f, s, 2*n+3, constants...)
	temps := [3]int{2 * n, 2*n + 1, 2*n + 2}
	p := t.pointers()
	t.op("MOVQ", at(wtSource, "AX"), "SI")
	t.op("MOVQ", at(wtSourceRow, "AX"), "R8")
	t.op("LEAQ", "(R8)(R8*2)", "R13")
	t.op("LEAQ", "(R8)(R8*4)", "R10")
	t.op("MOVQ", at(wtTarget, "AX"), "DI")
	t.op("MOVQ", at(wtCount, "AX"), "CX")
	t.label("tile")
	t.op("LEAQ", "(DI)(R12*1)", "BX")
	for round := range 3 {
		for j := range n {
			mem := func(i int) string { return offset(64*j, strided(i, "SI", "R8", "R13", "R10")) }
			vertical(t, round, mem, j, n+j, temps)
		}
		for row := range 2 {
			if round == 2 && row == 1 {
				t.op("MOVQ", "DI", "BX")
			}
			x := make([]int, n)
			for j := range x {
				x[j] = row*n + j
			}
			line(t, x, temps, func(j, reg int) { store(t, reg, p.at(j, "BX")) })
			if round < 2 || row == 0 {
				t.op("ADDQ", "R12", "BX")
			}
		}
	}
	t.op("ADDQ", at(wtSourceNext, "AX"), "SI")
	t.op("ADDQ", at(wtTargetNext, "AX"), "DI")
	t.op("DECQ", "CX")
	t.op("JNE", "tile")
	t.ret()
}

// offset adds bytes to a memory operand.
func offset(bytes int, mem string) string {
	if bytes == 0 {
		return mem
	}
	return fmt.Sprint(bytes) + mem
}

func winogradInput(f *asm, s isa, name string, store func(t *transformer, reg int, mem string)) {
	spreadTiles(f, s, name, "Transforms tiles of 6x6 pixels.", 6, []string{"a", "b", "aa", "bb", "product", "sum"}, store, spreadInput,
		func(t *transformer, round int, mem func(i int) string, first, second int, temps [3]int) {
			x, w := temps[0], temps[1]
			if round == 2 {
				for i, dst := range []int{second, first} { // rows 0 and 5
					t.load(mem(4+i), dst)
					t.load(mem(2+i), x)
					t.minus("sum", x, dst)
					t.load(mem(i), x)
					t.plus("product", x, dst)
				}
				return
			}
			square, point := "bb", "a"
			if round == 1 {
				square, point = "aa", "b"
			}
			t.load(mem(4), first)
			t.load(mem(2), x)
			t.minus(square, x, first)
			t.load(mem(3), w)
			t.load(mem(1), x)
			t.minus(square, x, w)
			t.move(first, second)
			t.plus(point, w, first)
			t.minus(point, w, second)
		})
}

func winogradGradient(f *asm, s isa, name string, store func(t *transformer, reg int, mem string)) {
	spreadTiles(f, s, name, "Transforms tiles of 4x4 pixels of a gradient.", 4, []string{"a", "b", "aa", "bb", "aaa", "bbb"}, store, spreadGradient,
		func(t *transformer, round int, mem func(i int) string, first, second int, temps [3]int) {
			if round == 2 {
				t.load(mem(3), first)
				t.load(mem(0), second)
				return
			}
			c := []string{"a", "b"}[round]
			e, o, x := temps[0], temps[1], temps[2]
			t.load(mem(0), e)
			t.load(mem(2), x)
			t.plus(c+c, x, e)
			t.load(mem(1), x)
			t.times(c, x, o)
			t.load(mem(3), x)
			t.plus(c+c+c, x, o)
			t.add(e, o, first)
			t.sub(e, o, second)
		})
}

func winogradFilter(f *asm, s isa) {
	spreadTiles(f, s, "Filter", "Transforms filters of 3x3.", 3, []string{"n0", "na", "nb", "ana", "bnb", "aana", "bbnb"}, (*transformer).store, spreadFilter,
		func(t *transformer, round int, mem func(i int) string, first, second int, temps [3]int) {
			e, o, x := temps[0], temps[1], temps[2]
			if round == 2 {
				t.load(mem(2), first)
				t.load(mem(0), x)
				t.times("n0", x, second)
				return
			}
			c := []string{"a", "b"}[round]
			t.load(mem(0), x)
			t.times("n"+c, x, e)
			t.load(mem(2), x)
			t.plus(c+c+"n"+c, x, e)
			t.load(mem(1), x)
			t.times(c+"n"+c, x, o)
			t.add(e, o, first)
			t.sub(e, o, second)
		})
}

// gatherTiles begins a function that makes squares of 36 planes: AX, R9, DX, R11 and R12 as pointers has them, R8, R13
// and R10 six, eighteen and thirty planes, SI and DI the tile, CX the number of tiles that are left.
func gatherTiles(f *asm, s isa, name, note string, first int, constants ...string) *transformer {
	f.text(fmt.Sprintf("winograd%s%d", name, 32*s.lanes), 8, note)
	f.op("MOVQ", "arg+0(FP)", "AX")
	t := newTransformer(f, s, first, constants...)
	t.op("MOVQ", at(wtPlane, "AX"), "R9")
	t.op("LEAQ", "(R9)(R9*2)", "R8")
	t.op("ADDQ", "R8", "R8")
	t.op("LEAQ", "(R8)(R8*2)", "R13")
	t.op("LEAQ", "(R8)(R8*4)", "R10")
	t.op("MOVQ", at(wtSource, "AX"), "SI")
	t.op("MOVQ", at(wtTarget, "AX"), "DI")
	t.op("MOVQ", at(wtCount, "AX"), "CX")
	t.label("tile")
	return t
}

// eachColumn calls fn for the six columns of planes with the operands of a column's rows.
func (t *transformer) eachColumn(fn func(j int, mem func(i int) string)) {
	t.op("MOVQ", "SI", "DX")
	for j := range 6 {
		fn(j, func(i int) string { return strided(i, "DX", "R8", "R13", "R10") })
		if j < 5 {
			t.op("ADDQ", "R9", "DX")
		}
	}
}

func (t *transformer) nextTile() {
	t.op("ADDQ", at(wtSourceNext, "AX"), "SI")
	t.op("ADDQ", at(wtTargetNext, "AX"), "DI")
	t.op("DECQ", "CX")
	t.op("JNE", "tile")
	t.ret()
}

func winogradOutput(f *asm, s isa) {
	t := gatherTiles(f, s, "Output", "Makes tiles of 4x4 pixels of their transforms.", 16, "a", "b", "aa", "bb", "aaa", "bbb")
	t.op("MOVQ", at(wtSourceRow, "AX"), "R12")
	const s1, s2 = 12, 13
	// rows 0 and 2 need the sums of planes, 1 and 3 their differences; row r of the pair lies in registers 6r to 6r+5
	for odd := range 2 {
		t.eachColumn(func(j int, mem func(i int) string) {
			even := odd == 0
			t.load(mem(1), s1)
			t.load(mem(3), s2)
			low, high := j, 6+j
			if even {
				t.addMem(mem(2), s1)
				t.addMem(mem(4), s2)
				t.load(mem(0), low)
				t.add(low, s1, low)
				t.add(low, s2, low)
				t.times("aa", s1, high)
				t.plus("bb", s2, high)
				return
			}
			t.op("VSUBPS", mem(2), t.reg(s1), t.reg(s1))
			t.op("VSUBPS", mem(4), t.reg(s2), t.reg(s2))
			t.times("a", s1, low)
			t.plus("b", s2, low)
			t.load(mem(5), high)
			t.plus("aaa", s1, high)
			t.plus("bbb", s2, high)
		})
		t.op("MOVQ", "DI", "BX")
		if odd == 1 {
			t.op("ADDQ", "R12", "BX")
		}
		for r := range 2 {
			x := func(i int) int { return 6*r + i }
			const sum, difference = 12, 13
			t.add(x(1), x(2), sum)
			t.sub(x(1), x(2), x(1))
			t.add(x(3), x(4), difference) // the second sum
			t.sub(x(3), x(4), x(3))
			t.add(x(0), sum, x(0))
			t.add(x(0), difference, x(0))
			t.times("aa", sum, x(2))
			t.plus("bb", difference, x(2))
			t.times("a", x(1), x(4))
			t.plus("b", x(3), x(4))
			t.plus("aaa", x(1), x(5))
			t.plus("bbb", x(3), x(5))
			out := [4]int{x(0), x(4), x(2), x(5)}
			t.op("MOVQ", at(woBias, "AX"), "DX")
			t.load("(DX)", sum)
			for _, o := range out {
				t.add(o, sum, o)
			}
			plain, linear := t.fresh("plain"), t.fresh("linear")
			t.op("CMPQ", at(woAdd, "AX"), "$0")
			t.op("JEQ", plain)
			for i, o := range out {
				t.addMem(at(64*i, "BX"), o)
			}
			t.label(plain)
			t.op("CMPQ", at(woReLU, "AX"), "$0")
			t.op("JEQ", linear)
			t.note("0 > value ? 0 : value, which keeps NaN.")
			s.zero(f, sum)
			for _, o := range out {
				t.op("VMAXPS", t.reg(o), t.reg(sum), t.reg(o))
			}
			t.label(linear)
			for i, o := range out {
				t.store(o, at(64*i, "BX"))
			}
			if r == 0 {
				t.op("LEAQ", "(BX)(R12*2)", "BX")
			}
		}
	}
	t.nextTile()
}

func winogradFilterGradient(f *asm, s isa) {
	t := gatherTiles(f, s, "FilterGradient", "Makes the gradients of filters of 3x3 of those of their transforms.", 16,
		"n0", "na", "nb", "ana", "bnb", "aana", "bbnb")
	const s1, s2 = 12, 13
	gather := func(row int, m [6]int, dst int) {
		switch row {
		case 0:
			t.times("n0", m[0], dst)
			t.plus("na", s1, dst)
			t.plus("nb", s2, dst)
		case 1:
			t.times("ana", s1, dst)
			t.plus("bnb", s2, dst)
		case 2:
			t.times("aana", s1, dst)
			t.plus("bbnb", s2, dst)
			t.add(dst, m[5], dst)
		}
	}
	for _, rows := range [][]int{{0, 2}, {1}} {
		t.eachColumn(func(j int, mem func(i int) string) {
			t.load(mem(1), s1)
			t.load(mem(3), s2)
			sign := "VADDPS"
			if rows[0] == 1 {
				sign = "VSUBPS"
			}
			t.op(sign, mem(2), t.reg(s1), t.reg(s1))
			t.op(sign, mem(4), t.reg(s2), t.reg(s2))
			const m = 14
			if rows[0] == 0 {
				t.load(mem(0), m)
			}
			gather(rows[0], [6]int{m}, j)
			if len(rows) > 1 {
				t.load(mem(5), m)
				gather(rows[1], [6]int{5: m}, 6+j)
			}
		})
		for i, row := range rows {
			x := [6]int{6 * i, 6*i + 1, 6*i + 2, 6*i + 3, 6*i + 4, 6*i + 5}
			const dst = 14
			t.add(x[1], x[2], s1)
			t.add(x[3], x[4], s2)
			gather(0, x, dst)
			t.store(dst, at(64*(3*row), "DI"))
			gather(2, x, dst)
			t.store(dst, at(64*(3*row+2), "DI"))
			t.sub(x[1], x[2], s1)
			t.sub(x[3], x[4], s2)
			gather(1, x, dst)
			t.store(dst, at(64*(3*row+1), "DI"))
		}
	}
	t.nextTile()
}

// winogradProduct writes a tile of C = A B at each of a number of positions: so many rows by so many registers, which
// are neighbouring blocks of 16 columns, or the halves of one. With outer, C += A^T B: a row is then a column of A.
func winogradProduct(f *asm, s isa, terms convTerms, rows, vecs int, outer bool) {
	name, note := "Product", "C = A B"
	if outer {
		name, note = "Outer", "C += A^T B"
	}
	f.text(fmt.Sprintf("winograd%s%sx%dx%d", name, terms.name(s), rows, vecs), 8,
		fmt.Sprintf("%s for %d rows by %d columns.", note, rows, vecs*s.lanes))
	acc := func(r, v int) string { return s.reg(r*vecs + v) }
	w := rows * vecs
	temps := []int{w + vecs}
	for t := temps[0] + 1; t < s.regs && len(temps) < 4; t++ {
		temps = append(temps, t)
	}
	// vector v of a line of B or C, the second block of which lies next bytes further on
	mem := func(base, next string, offset, v int) string {
		if s.lanes == 8 {
			return at(offset+32*v, base)
		}
		if v == 1 {
			return atIndex(offset, base, next, 1)
		}
		return at(offset, base)
	}
	f.op("MOVQ", "arg+0(FP)", "AX")
	f.op("MOVQ", at(wpA, "AX"), "BX")
	f.op("MOVQ", at(wpB, "AX"), "DI")
	f.op("MOVQ", at(wpC, "AX"), "R13")
	f.op("MOVQ", at(wpAPitch, "AX"), "R9")
	f.op("MOVQ", at(wpPositions, "AX"), "CX")
	f.op("LEAQ", "(R9)(R9*2)", "DX")
	f.label("position")
	f.op("MOVQ", "CX", at(wpPositions, "AX"))
	f.op("MOVQ", "BX", "SI")
	f.op("MOVQ", "DI", "R8")
	along := func(each func(r int)) {
		f.op("MOVQ", "R13", "R11")
		f.op("MOVQ", at(wpCNext, "AX"), "R12")
		for r := range rows {
			each(r)
			if r < rows-1 {
				f.op("ADDQ", at(wpCPitch, "AX"), "R11")
			}
		}
	}
	if outer {
		along(func(r int) {
			for v := range vecs {
				f.op("VMOVUPS", mem("R11", "R12", 0, v), acc(r, v))
			}
		})
		f.op("MOVQ", at(wpBNext, "AX"), "R10")
		f.op("MOVQ", at(wpBPitch, "AX"), "R12")
	} else {
		for i := range rows * vecs {
			s.zero(f, i)
		}
	}
	f.op("MOVQ", at(wpK, "AX"), "CX")
	if outer {
		f.label("loop")
		for v := range vecs {
			f.op("VMOVUPS", mem("R8", "R10", 0, v), s.reg(w+v))
		}
		for r := range rows {
			t := temps[r%len(temps)]
			f.op("VBROADCASTSS", at(4*r, "SI"), s.reg(t))
			for v := range vecs {
				terms.multiply(f, s, t, w+v, r*vecs+v)
			}
		}
		f.op("ADDQ", "R9", "SI")
		f.op("ADDQ", "R12", "R8")
		f.op("DECQ", "CX")
		f.op("JNE", "loop")
	} else {
		bases := (rows + 3) / 4
		// rowBases are SI, R10, R11 and R12, so the second block is reached by a pointer of its own: CX counts in memory.
		for i := 1; i < bases; i++ {
			f.op("LEAQ", atIndex(0, rowBases[i-1], "R9", 4), rowBases[i])
		}
		const unroll = 4
		step := func(u int) {
			for v := range vecs {
				f.op("VMOVUPS", mem("R8", "DI", 64*u, v), s.reg(w+v))
			}
			for r := range rows {
				t := temps[r%len(temps)]
				f.op("VBROADCASTSS", offset(4*u, row(r)), s.reg(t))
				for v := range vecs {
					terms.multiply(f, s, t, w+v, r*vecs+v)
				}
			}
		}
		f.op("MOVQ", at(wpBNext, "AX"), "DI")
		f.op("SUBQ", imm(unroll), "CX")
		f.op("JLT", "rest")
		f.label("loop")
		for u := range unroll {
			step(u)
		}
		for i := range bases {
			f.op("ADDQ", imm(4*unroll), rowBases[i])
		}
		f.op("ADDQ", imm(64*unroll), "R8")
		f.op("SUBQ", imm(unroll), "CX")
		f.op("JGE", "loop")
		f.label("rest")
		f.op("ADDQ", imm(unroll), "CX")
		f.op("JEQ", "done")
		f.label("one")
		step(0)
		for i := range bases {
			f.op("ADDQ", "$4", rowBases[i])
		}
		f.op("ADDQ", "$64", "R8")
		f.op("DECQ", "CX")
		f.op("JNE", "one")
		f.label("done")
	}
	along(func(r int) {
		for v := range vecs {
			f.op("VMOVUPS", acc(r, v), mem("R11", "R12", 0, v))
		}
	})
	f.op("ADDQ", at(wpAPlane, "AX"), "BX")
	f.op("MOVQ", at(wpB, "AX"), "DI")
	f.op("ADDQ", at(wpBPlane, "AX"), "DI")
	f.op("MOVQ", "DI", at(wpB, "AX"))
	f.op("ADDQ", at(wpCPlane, "AX"), "R13")
	f.op("MOVQ", at(wpPositions, "AX"), "CX")
	f.op("DECQ", "CX")
	f.op("JNE", "position")
	f.ret()
}

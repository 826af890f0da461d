package kernel

import "unsafe"

// winogradTransformArgs is what the assembly of a transform takes; gen/winograd.go knows the offsets. Distances are in
// bytes. Of the 36 planes and the square one is the source, the other the target.
type winogradTransformArgs struct {
	source            unsafe.Pointer
	row               int // from row to row of the square
	sourceNext        int // to the next tile
	target            unsafe.Pointer
	plane             int // from plane to plane
	targetNext, count int
	bias              unsafe.Pointer // of winogradOutput
	add, relu         int            // of winogradOutput: 0 or 1
}

// winogradProductArgs is what the assembly of a product takes, which overwrites b and positions.
type winogradProductArgs struct {
	a                     unsafe.Pointer
	aPitch, aPlane        int
	b                     unsafe.Pointer
	bPitch, bNext, bPlane int
	c                     unsafe.Pointer
	cPitch, cNext, cPlane int
	k, positions          int
}

// productTileSize returns the largest tile of a product, in rows and blocks of columns.
func productTileSize() (rows, blocks int) {
	if vector == vector256 {
		return 6, 1
	}
	return 14, 2
}

// transform runs the assembly of a transform.
func (t *winogradTransform) transform(kind winogradKind) {
	arg := winogradTransformArgs{
		source: ptr(t.source, t.sourceAt), row: 4 * t.row, sourceNext: 4 * t.sourceNext,
		target: ptr(t.target, t.targetAt), plane: 4 * t.plane, targetNext: 4 * t.targetNext, count: t.count,
	}
	if kind == winogradOutput {
		arg.bias = ptr(t.bias, 0)
		if t.add {
			arg.add = 1
		}
		if t.relu {
			arg.relu = 1
		}
	}
	if vector == vector512 {
		switch kind {
		case winogradInput:
			winogradInput512(&arg)
		case winogradOutput:
			winogradOutput512(&arg)
		case winogradGradient:
			winogradGradient512(&arg)
		case winogradFilter:
			winogradFilter512(&arg)
		case winogradFilterGradient:
			winogradFilterGradient512(&arg)
		}
		return
	}
	for range 2 {
		switch kind {
		case winogradInput:
			winogradInput256(&arg)
		case winogradOutput:
			winogradOutput256(&arg)
			arg.bias = unsafe.Add(arg.bias, 32)
		case winogradGradient:
			winogradGradient256(&arg)
		case winogradFilter:
			winogradFilter256(&arg)
		case winogradFilterGradient:
			winogradFilterGradient256(&arg)
		}
		arg.source, arg.target = unsafe.Add(arg.source, 32), unsafe.Add(arg.target, 32)
	}
}

func (t *winogradTransform) run(kind winogradKind) {
	if vector == vectorNone {
		t.runGo(kind)
		return
	}
	t.transform(kind)
}

func (p *winogradProduct) run(outer bool) {
	if vector == vectorNone {
		p.runGo(outer)
		return
	}
	arg := winogradProductArgs{
		a: ptr(p.a, p.aAt), aPitch: 4 * p.aPitch, aPlane: 4 * p.aPlane,
		b: ptr(p.b, p.bAt), bPitch: 4 * p.bPitch, bNext: 4 * p.bNext, bPlane: 4 * p.bPlane,
		c: ptr(p.c, p.cAt), cPitch: 4 * p.cPitch, cNext: 4 * p.cNext, cPlane: 4 * p.cPlane,
		k: p.k, positions: winogradPlanes,
	}
	switch {
	case vector == vector512 && outer:
		winogradOuter512(p.rows, p.blocks, &arg)
	case vector == vector512:
		winogradProduct512(p.rows, p.blocks, &arg)
	case outer:
		winogradOuter256(p.rows, 2, &arg)
	default:
		winogradProduct256(p.rows, 2, &arg)
	}
}

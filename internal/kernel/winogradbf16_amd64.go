package kernel

func (t *winogradTransformBF16) run(place winogradPlace) {
	if !HasBF16() {
		t.runGo(place)
		return
	}
	arg := winogradTransformArgs{
		source: ptr(t.source, t.sourceAt), row: 4 * t.row, sourceNext: 4 * t.sourceNext,
		target: ptrBF16(t.target, t.targetAt), plane: 2 * t.plane, targetNext: 2 * t.targetNext, count: t.count,
	}
	switch {
	case place == winogradAlone:
		winogradInputBF16(&arg)
	case place == winogradFirst && t.gradient:
		winogradGradient512(&arg)
	case place == winogradFirst:
		winogradInput512(&arg)
	case t.gradient:
		winogradGradientPairBF16(&arg)
	default:
		winogradInputPairBF16(&arg)
	}
}

func (p *winogradPairs) run(outer bool) {
	if !HasBF16() {
		p.runGo(outer)
		return
	}
	arg := winogradProductArgs{
		a: ptrBF16(p.a, p.aAt), aPitch: 2 * p.aPitch, aPlane: 2 * p.aPlane,
		b: ptrBF16(p.b, p.bAt), bPitch: 2 * p.bPitch, bNext: 2 * p.bNext, bPlane: 2 * p.bPlane,
		c: ptr(p.c, p.cAt), cPitch: 4 * p.cPitch, cNext: 4 * p.cNext, cPlane: 4 * p.cPlane,
		k: p.k, positions: winogradPlanes,
	}
	if outer {
		winogradOuterBF16(p.rows, p.blocks, &arg)
		return
	}
	winogradProductBF16(p.rows, p.blocks, &arg)
}

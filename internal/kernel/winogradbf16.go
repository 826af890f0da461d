package kernel

import (
	"fmt"
	"math"
)

// WinogradBF16 is [Winograd] with products of bfloat16 values: the transformed tiles and filters are rounded to bfloat16 (to
// nearest, ties to even), their products are exact, and sums and transforms are of float32. Rounding behind the
// transforms costs more than rounding the operands of a direct convolution does: errors are about four times those of
// [ConvBF16], one per cent of the values (see the tests). Packed weights are bfloat16 values, two in the place of a
// float32.
//
// The products of a sum go in pairs: of channels 2i+1 and 2i, or, in BackwardWeights, of the lines of tiles 2i+1 and 2i of a
// chunk. What Winograd says on the order of summation and on values that are not finite holds otherwise.
type WinogradBF16 struct{ conv *Winograd }

// WinogradBF16Serves reports whether [NewWinogradBF16] takes the shape: that which [WinogradServes] with even numbers of
// channels.
func WinogradBF16Serves(s ConvShape) bool { return WinogradServes(s) && s.In%2 == 0 && s.Out%2 == 0 }

// NewWinogradBF16 prepares convolutions of a shape. It panics unless [WinogradBF16Serves] it.
func NewWinogradBF16(s ConvShape) *WinogradBF16 {
	if !WinogradBF16Serves(s) {
		panic(fmt.Sprintf("kernel: Winograd convolution in bfloat16 of shape %+v", s))
	}
	return &WinogradBF16{NewWinograd(s)}
}

// Shape returns the shape that the convolution was made for.
func (c *WinogradBF16) Shape() ConvShape { return c.conv.shape }

// OutputSize returns the height and width of the output.
func (c *WinogradBF16) OutputSize() (oh, ow int) { return c.conv.OutputSize() }

// InputLen returns the number of values of n blocked inputs, as [Winograd.InputLen].
func (c *WinogradBF16) InputLen(n int) int { return c.conv.InputLen(n) }

// OutputLen returns the number of values of n blocked outputs, as [Winograd.OutputLen].
func (c *WinogradBF16) OutputLen(n int) int { return c.conv.OutputLen(n) }

// WeightsLen returns the number of float32 values that have the room of packed weights, transposed or not.
func (c *WinogradBF16) WeightsLen() int {
	return winogradPlanes / 2 * max(c.conv.forward.filterPlaneBF16(), c.conv.backward.filterPlaneBF16())
}

// GradientLen returns the number of values of the gradient of the weights.
func (c *WinogradBF16) GradientLen() int { return c.conv.GradientLen() }

// PackWeights transforms weights, [Out, In, 3, 3], for Forward.
func (c *WinogradBF16) PackWeights(threads int, weights, packed []float32) {
	checkLen("PackWeights", "packed", len(packed), c.WeightsLen())
	c.conv.forward.packBF16(threads, bf16s(packed), func(planes []float32) { c.conv.PackWeights(threads, weights, planes) }, c.conv.WeightsLen())
}

// PackTransposed transforms weights, [Out, In, 3, 3], for BackwardData.
func (c *WinogradBF16) PackTransposed(threads int, weights, packed []float32) {
	checkLen("PackTransposed", "packed", len(packed), c.WeightsLen())
	c.conv.backward.packBF16(threads, bf16s(packed), func(planes []float32) { c.conv.PackTransposed(threads, weights, planes) }, c.conv.WeightsLen())
}

// UnpackGradient is [Winograd.UnpackGradient].
func (c *WinogradBF16) UnpackGradient(threads int, gradient, weights []float32) {
	c.conv.UnpackGradient(threads, gradient, weights)
}

// Forward is [Winograd.Forward] on weights packed by PackWeights.
func (c *WinogradBF16) Forward(threads, n int, x, weights, y []float32, e ConvEpilogue) {
	checkLen("Forward", "x", len(x), c.InputLen(n))
	checkLen("Forward", "weights", len(weights), c.WeightsLen())
	checkLen("Forward", "y", len(y), c.OutputLen(n))
	if e.Bias != nil {
		checkLen("Forward", "Bias", len(e.Bias), c.conv.forward.outBlocks*BlockChannels)
	}
	c.conv.forward.runBF16(threads, n, convJob{source: x, weightsBF16: bf16s(weights), target: y, bias: e.Bias, add: e.Add, relu: e.ReLU})
}

// BackwardData is [Winograd.BackwardData] on weights packed by PackTransposed.
func (c *WinogradBF16) BackwardData(threads, n int, dy, weights, dx []float32, add bool) {
	checkLen("BackwardData", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardData", "weights", len(weights), c.WeightsLen())
	checkLen("BackwardData", "dx", len(dx), c.InputLen(n))
	c.conv.backward.runBF16(threads, n, convJob{source: dy, weightsBF16: bf16s(weights), target: dx, add: add})
}

// BackwardWeights is [Winograd.BackwardWeights].
func (c *WinogradBF16) BackwardWeights(threads, n int, x, dy, gradient []float32) {
	checkLen("BackwardWeights", "x", len(x), c.InputLen(n))
	checkLen("BackwardWeights", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardWeights", "gradient", len(gradient), c.GradientLen())
	c.conv.forward.backwardWeights(threads, n, x, dy, gradient, true)
}

// planeLenBF16 is planeLen for bfloat16.
func planeLenBF16(values int) int { return 2 * planeLen((values+1)/2) }

// filterPlaneBF16 is the distance of planes of rounded filters, each [outBlocks, in/2, 16, 2].
func (p *winogradPlan) filterPlaneBF16() int { return planeLenBF16(p.outBlocks * p.in * BlockChannels) }

func (p *winogradPlan) sourcePlaneBF16() int { return planeLenBF16(p.tiles * p.sourcePitch) }

// packBF16 rounds the filters that pack leaves in planes.
func (p *winogradPlan) packBF16(threads int, packed []BF16, pack func(planes []float32), length int) {
	const b = BlockChannels
	planes := borrow[float32](length)
	defer giveBack(planes)
	pack(planes)
	Parallel(worthwhile(threads, packWork*p.filtersLen()), winogradPlanes, func(plane int) {
		from, to := planes[plane*p.filterPlane():], packed[plane*p.filterPlaneBF16():]
		for at := 0; at < p.outBlocks*p.in*b; at += 2 * b {
			toPairsBF16(from[at:][:b], from[at+b:][:b], to[at:][:2*b])
		}
	})
}

// runBF16 is run on rounded tiles.
func (p *winogradPlan) runBF16(threads, n int, job convJob) {
	if n == 0 {
		return
	}
	threads = worthwhile(threads, n*p.work()/2)
	chunks := p.chunks(n)
	ParallelPieces(threads, chunks, max(1, chunks/(threads*piecesPerThread)), func(_, from, to int) {
		scratch := borrow[float32](winogradPlanes*p.targetPlane + p.paddedLen)
		defer giveBack(scratch)
		planes := borrowBF16(winogradPlanes * p.sourcePlaneBF16())
		defer giveBackBF16(planes)
		products, padded := scratch[:winogradPlanes*p.targetPlane], scratch[winogradPlanes*p.targetPlane:]
		clear(padded)
		for i := from; i < to; i++ {
			c := p.chunk(i, n)
			t := winogradTransformBF16{
				source: padded, row: p.paddedRow, sourceNext: winogradTile * BlockChannels,
				target: planes, plane: p.sourcePlaneBF16(), targetNext: p.sourcePitch, count: p.tilesX,
			}
			p.eachLine(c, job.source, padded, func(line, block, at int) {
				t.sourceAt, t.targetAt = at, line*p.tilesX*p.sourcePitch+block*BlockChannels
				t.run(winogradAlone)
			})
			p.multiplyBF16(c, planes, job.weightsBF16, products)
			p.gather(c, products, &job)
		}
	})
}

// multiplyBF16 computes the products of a chunk, [36, tiles, out].
func (p *winogradPlan) multiplyBF16(c chunk, planes, weights []BF16, products []float32) {
	const b = BlockChannels
	maxRows, maxBlocks := productTileSize()
	t := winogradPairs{
		a: planes, aPitch: p.sourcePitch, aPlane: p.sourcePlaneBF16(),
		b: weights, bPitch: 2 * b, bNext: p.in * b, bPlane: p.filterPlaneBF16(),
		c: products, cPitch: p.targetPitch, cNext: b, cPlane: p.targetPlane, k: p.in / 2,
	}
	for block := 0; block < p.outBlocks; block += maxBlocks {
		t.blocks = min(maxBlocks, p.outBlocks-block)
		t.bAt = block * p.in * b
		eachTile(c.tiles, maxRows, func(from, count int) {
			t.aAt, t.rows = from*p.sourcePitch, count
			t.cAt = from*p.targetPitch + block*b
			t.run(false)
		})
	}
}

// pairs returns how many pairs of tiles so many lines of them make. The last line may lack its partner.
func (p *winogradPlan) pairs(lines int) int { return (lines + 1) / 2 * p.tilesX }

func (w *winogradWeights) inputPairPlane() int {
	return planeLenBF16(w.plan.pairs(w.plan.tiles/w.plan.tilesX) * 2 * w.plan.sourcePitch)
}

func (w *winogradWeights) gradientPairPlane() int {
	return planeLenBF16(w.plan.pairs(w.plan.tiles/w.plan.tilesX) * 2 * w.gradientPitch())
}

// winogradWeightPairs holds rounded pairs of tiles, in planes.
type winogradWeightPairs struct {
	scratch, inputs, gradients []BF16
}

func (w *winogradWeights) borrowPairs() {
	inputs := winogradPlanes * w.inputPairPlane()
	s := borrowBF16(inputs + winogradPlanes*w.gradientPairPlane())
	w.pairs = winogradWeightPairs{scratch: s, inputs: s[:inputs], gradients: s[inputs:]}
}

// addPairs is add on rounded pairs of tiles.
func (w *winogradWeights) addPairs(c chunk) {
	const b = BlockChannels
	p := w.plan
	// pair transforms a line of tiles as the first or the second one of its pair.
	pair := func(t *winogradTransformBF16, line, block, pitch int) {
		t.targetAt = line/2*p.tilesX*2*pitch + block*2*b
		t.run(winogradFirst + winogradPlace(line%2))
	}
	// alone puts zeros in the place of the partner that the last line lacks.
	lines := c.images * c.rows
	var zeros [winogradSide * b]float32
	alone := func(t winogradTransformBF16, blocks, pitch int) {
		if lines%2 == 1 {
			t.source, t.sourceAt, t.row, t.sourceNext = zeros[:], 0, 0, 0
			for block := range blocks {
				pair(&t, lines, block, pitch)
			}
		}
	}
	t := winogradTransformBF16{
		source: w.padded, row: p.paddedRow, sourceNext: winogradTile * b,
		target: w.pairs.inputs, plane: w.inputPairPlane(), targetNext: 2 * p.sourcePitch, count: p.tilesX,
	}
	p.eachLine(c, w.x, w.padded, func(line, block, at int) {
		t.sourceAt = at
		pair(&t, line, block, p.sourcePitch)
	})
	alone(t, p.inBlocks, p.sourcePitch)
	t.source, t.sourceAt = w.paddedGradient, 0
	t.target, t.plane, t.targetNext, t.gradient = w.pairs.gradients, w.gradientPairPlane(), 2*w.gradientPitch(), true
	w.eachGradientLine(c, func(line, block int) { pair(&t, line, block, w.gradientPitch()) })
	alone(t, w.blocks, w.gradientPitch())

	maxRows, maxBlocks := productTileSize()
	m := winogradPairs{
		a: w.pairs.inputs, aPitch: 2 * p.sourcePitch, aPlane: w.inputPairPlane(),
		b: w.pairs.gradients, bPitch: 2 * w.gradientPitch(), bNext: 2 * b, bPlane: w.gradientPairPlane(),
		c: w.sums, cPitch: b, cNext: p.in * b, cPlane: w.sumsPlane(), k: p.pairs(lines),
	}
	for block := 0; block < w.blocks; block += maxBlocks {
		m.blocks = min(maxBlocks, w.blocks-block)
		m.bAt = block * 2 * b
		eachTile(p.in, maxRows, func(from, count int) {
			m.aAt, m.rows = 2*from, count
			m.cAt = (block*p.in + from) * b
			m.run(true)
		})
	}
}

// winogradPlace is the place of a tile among the rounded ones.
type winogradPlace int

const (
	winogradAlone  winogradPlace = iota // its channels lie next to each other
	winogradFirst                       // first of a pair: float32 until its partner comes, in the place of the pair
	winogradSecond                      // second of a pair: with it the pair becomes one of bfloat16
)

// winogradTransformBF16 is winogradTransform of inputs or gradients to rounded planes. Distances in target count
// bfloat16 values.
type winogradTransformBF16 struct {
	source          []float32
	sourceAt        int
	row, sourceNext int
	target          []BF16
	targetAt        int
	plane           int
	targetNext      int
	count           int
	gradient        bool // tiles of a gradient
}

// runGo is the plain version.
func (t *winogradTransformBF16) runGo(place winogradPlace) {
	const b = BlockChannels
	kind := winogradInput
	if t.gradient {
		kind = winogradGradient
	}
	var planes [winogradPlanes * b]float32
	f := winogradTransform{source: t.source, row: t.row, target: planes[:], plane: b, count: 1}
	for i := range t.count {
		f.sourceAt = t.sourceAt + i*t.sourceNext
		f.runGo(kind)
		for plane := range winogradPlanes {
			values := planes[plane*b:][:b]
			to := t.target[t.targetAt+i*t.targetNext+plane*t.plane:]
			for c, v := range values {
				switch place {
				case winogradAlone:
					to[c] = ToBF16(v)
				case winogradFirst:
					bits := math.Float32bits(v)
					to[2*c], to[2*c+1] = BF16(bits), BF16(bits>>16)
				case winogradSecond:
					first := math.Float32frombits(uint32(to[2*c]) | uint32(to[2*c+1])<<16)
					to[2*c], to[2*c+1] = ToBF16(first), ToBF16(v)
				}
			}
		}
	}
}

// winogradPairs is winogradProduct on pairs of bfloat16 values. Distances in a and b count them one by one.
type winogradPairs struct {
	a              []BF16
	aAt            int
	aPitch, aPlane int
	b              []BF16
	bAt            int
	bPitch, bPlane int
	bNext          int
	c              []float32
	cAt            int
	cPitch, cPlane int
	cNext          int
	k              int // pairs, at least 1
	rows, blocks   int
}

// runGo is the plain version.
func (p *winogradPairs) runGo(outer bool) {
	const b = BlockChannels
	rowStep, kStep := p.aPitch, 2
	if outer {
		rowStep, kStep = 2, p.aPitch
	}
	for plane := range winogradPlanes {
		for block := range p.blocks {
			for row := range p.rows {
				out := p.c[p.cAt+plane*p.cPlane+block*p.cNext+row*p.cPitch:][:b]
				if !outer {
					clear(out)
				}
				left := p.a[p.aAt+plane*p.aPlane+row*rowStep:]
				right := p.b[p.bAt+plane*p.bPlane+block*p.bNext:]
				for k := range p.k {
					v0, v1 := left[k*kStep].Float32(), left[k*kStep+1].Float32()
					pairs := right[k*p.bPitch:][:2*b]
					for o := range out {
						out[o] += v1 * pairs[2*o+1].Float32()
						out[o] += v0 * pairs[2*o].Float32()
					}
				}
			}
		}
	}
}

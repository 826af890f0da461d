package kernel

// The gradient of the weights is computed in parts: a part takes a group of chunks and a run of blocks of outputs.
const (
	winogradParts       = 8 // at least, where there is enough to do: parts are what threads share
	winogradPartOutputs = 4 // blocks of outputs of a part, at most
)

// BackwardWeights computes the gradient of the weights, summed over n images: x is blocked, of InputLen(n) values, dy of
// OutputLen(n); gradient, of GradientLen values, is overwritten and is for UnpackGradient.
func (c *Winograd) BackwardWeights(threads, n int, x, dy, gradient []float32) {
	checkLen("BackwardWeights", "x", len(x), c.InputLen(n))
	checkLen("BackwardWeights", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardWeights", "gradient", len(gradient), c.GradientLen())
	c.forward.backwardWeights(threads, n, x, dy, gradient, false)
}

// backwardWeights is BackwardWeights, with rounding to bfloat16 where asked for.
func (p *winogradPlan) backwardWeights(threads, n int, x, dy, gradient []float32, bf16 bool) {
	gradient = gradient[:p.filtersLen()]
	if n == 0 {
		clear(gradient)
		return
	}
	runs := (p.outBlocks + winogradPartOutputs - 1) / winogradPartOutputs
	chunks := p.chunks(n)
	groups := min(chunks, (winogradParts+runs-1)/runs)
	scratch := borrow[float32]((groups - 1) * p.filtersLen())
	defer giveBack(scratch)
	part := func(group int) []float32 {
		if group == 0 {
			return gradient
		}
		return scratch[(group-1)*p.filtersLen():][:p.filtersLen()]
	}
	threads = worthwhile(threads, n*p.work())
	ParallelPieces(threads, groups*runs, 1, func(_, from, to int) {
		w := newWinogradWeights(p, n, x, dy, bf16)
		defer w.giveBack()
		for i := from; i < to; i++ {
			group, run := i%groups, i/groups
			w.block, w.blocks = run*p.outBlocks/runs, (run+1)*p.outBlocks/runs-run*p.outBlocks/runs
			w.part(group*chunks/groups, (group+1)*chunks/groups, part(group))
		}
	})
	ParallelRanges(worthwhile(threads, packWork*groups*p.filtersLen()), p.outBlocks, func(_, from, to int) {
		from, to = from*p.in*9*BlockChannels, to*p.in*9*BlockChannels
		for group := 1; group < groups; group++ {
			Add(part(group)[from:to], gradient[from:to])
		}
	})
}

// winogradWeights computes parts of a gradient one after the other.
type winogradWeights struct {
	plan          *winogradPlan
	n             int
	x, dy         []float32
	block, blocks int // of outputs
	scratch       []float32

	padded, paddedGradient []float32
	inputs, gradients      []float32 // in planes
	sums                   []float32 // in planes, [blocks, in, 16]

	bf16  bool // then, instead of inputs and gradients:
	pairs winogradWeightPairs
}

func newWinogradWeights(p *winogradPlan, n int, x, dy []float32, bf16 bool) *winogradWeights {
	w := &winogradWeights{plan: p, n: n, x: x, dy: dy, bf16: bf16}
	spread := winogradPlanes * (p.sourcePlane + w.gradientPlane())
	if bf16 {
		spread = 0
		w.borrowPairs()
	}
	w.scratch = borrow[float32](2*p.paddedLen + winogradPlanes*w.sumsPlane() + spread)
	rest := w.scratch
	take := func(length int) (s []float32) {
		s, rest = rest[:length:length], rest[length:]
		return s
	}
	w.padded, w.paddedGradient = take(p.paddedLen), take(p.paddedLen)
	if !bf16 {
		w.inputs, w.gradients = take(winogradPlanes*p.sourcePlane), take(winogradPlanes*w.gradientPlane())
	}
	w.sums = take(winogradPlanes * w.sumsPlane())
	clear(w.padded)
	clear(w.paddedGradient)
	return w
}

func (w *winogradWeights) giveBack() {
	giveBack(w.scratch)
	if w.bf16 {
		giveBackBF16(w.pairs.scratch)
	}
}

// gradientPitch is the number of values of a transformed tile of a part's gradients in a plane.
func (w *winogradWeights) gradientPitch() int {
	return min(w.plan.outBlocks, winogradPartOutputs) * BlockChannels
}

func (w *winogradWeights) gradientPlane() int { return planeLen(w.plan.tiles * w.gradientPitch()) }

func (w *winogradWeights) sumsPlane() int { return planeLen(w.gradientPitch() * w.plan.in) }

// part writes the gradient of the chunks [from, to) to the filters of the current run of blocks.
func (w *winogradWeights) part(from, to int, filters []float32) {
	const b = BlockChannels
	p := w.plan
	clear(w.sums)
	for i := from; i < to; i++ {
		if c := p.chunk(i, w.n); w.bf16 {
			w.addPairs(c)
		} else {
			w.add(c)
		}
	}
	for block := range w.blocks {
		t := winogradTransform{
			source: w.sums, sourceAt: block * p.in * b, plane: w.sumsPlane(), sourceNext: b,
			target: filters, targetAt: (w.block + block) * p.in * 9 * b, row: 3 * b, targetNext: 9 * b, count: p.in,
		}
		t.run(winogradFilterGradient)
	}
}

// add adds a chunk to the sums.
func (w *winogradWeights) add(c chunk) {
	const b = BlockChannels
	p := w.plan
	maxRows, maxBlocks := productTileSize()
	t := winogradProduct{
		a: w.inputs, aPitch: p.sourcePitch, aPlane: p.sourcePlane,
		b: w.gradients, bPitch: w.gradientPitch(), bNext: b, bPlane: w.gradientPlane(),
		c: w.sums, cPitch: b, cNext: p.in * b, cPlane: w.sumsPlane(), k: c.tiles,
	}
	p.spread(c, w.x, w.padded, w.inputs)
	w.spreadGradients(c)
	for block := 0; block < w.blocks; block += maxBlocks {
		t.blocks = min(maxBlocks, w.blocks-block)
		t.bAt = block * b
		eachTile(p.in, maxRows, func(from, count int) {
			t.aAt, t.rows = from, count
			t.cAt = (block*p.in + from) * b
			t.run(true)
		})
	}
}

// spreadGradients transforms the gradients of a chunk's outputs to planes.
func (w *winogradWeights) spreadGradients(c chunk) {
	const b, side = BlockChannels, winogradTile
	p := w.plan
	t := winogradTransform{
		source: w.paddedGradient, row: p.paddedRow, sourceNext: side * b, target: w.gradients, plane: w.gradientPlane(), targetNext: w.gradientPitch(), count: p.tilesX,
	}
	w.eachGradientLine(c, func(line, block int) {
		t.targetAt = line*p.tilesX*w.gradientPitch() + block*b
		t.run(winogradGradient)
	})
}

// eachGradientLine calls fn for each line of tiles of a chunk's images, and each block of the run, with its gradients in
// paddedGradient.
func (w *winogradWeights) eachGradientLine(c chunk, fn func(line, block int)) {
	const b, side = BlockChannels, winogradTile
	p := w.plan
	for image := range c.images {
		for block := range w.blocks {
			plane := w.dy[((c.image+image)*p.outBlocks+w.block+block)*p.oh*p.ow*b:][:p.oh*p.ow*b]
			for row := range c.rows {
				y := (c.row + row) * side
				for line := range side {
					to := w.paddedGradient[line*p.paddedRow:][:p.ow*b]
					if y+line < p.oh {
						copy(to, plane[(y+line)*p.ow*b:])
					} else {
						clear(to)
					}
				}
				fn(image*c.rows+row, block)
			}
		}
	}
}

package kernel

import "fmt"

// Winograd computes convolutions with a 3x3 window, stride 1 and no dilation, forward and backward, on blocked activations
// as [Conv] does, with a quarter of the multiplications: F(4x4, 3x3) of Lavin and Gray (2015, arXiv 1509.09308), after
// Winograd (1980).
//
// Four values of a line of the output that a filter of three makes are the coefficients of a product of polynomials, and
// that is known by its values at six points. With the matrices B^T, G and A^T that evaluate the input and the filter at the
// points and lead back, a tile of 4x4 outputs is y = A^T [(G g G^T) * (B^T d B)] A, d being the 6x6 inputs that it sees
// and * the product value by value: 36 multiplications instead of 144. Summed over input channels, each of the 36
// places is a matrix product of its own, of tiles by channels. The points are 0, 3/4, -3/4, 3/2, -3/2 and infinity: all
// factors of the transforms of activations are then float32 values, and the rounding errors are half those of the usual
// 0, 1, -1, 2, -2 (about three times those of a direct convolution, see the tests).
//
// The gradient of the input is such a convolution again, of the gradient of the output with the filters turned by 180
// degrees. That of a filter is G^T [sum over tiles of (A dy A^T) * (B^T d B)] G, the transpose of the map from g to y.
//
// A value that is not finite spoils the whole tile, not just the outputs that see it.
//
// Sums run over the input channels in their order, those of the gradient of the filters over tiles, in groups that depend
// on the shape and n only: no result depends on the number of threads, and the output of an image not on what else is in
// the batch. AVX-512 and AVX2 give the same bits. Methods may be called at the same time.
type Winograd struct {
	shape             ConvShape
	forward, backward winogradPlan
}

// WinogradServes reports whether [NewWinograd] takes the shape.
func WinogradServes(s ConvShape) bool {
	return s.Kernel == 3 && s.Stride == 1 && s.Dilation == 1 && s.Pad >= 0 && s.Pad <= 2 && s.In >= 1 && s.Out >= 1 &&
		s.H+2*s.Pad >= 3 && s.W+2*s.Pad >= 3
}

// NewWinograd prepares convolutions of a shape. It panics unless [WinogradServes] it.
func NewWinograd(s ConvShape) *Winograd {
	if !WinogradServes(s) {
		panic(fmt.Sprintf("kernel: Winograd convolution of shape %+v", s))
	}
	oh, ow := s.H+2*s.Pad-2, s.W+2*s.Pad-2
	return &Winograd{
		shape:    s,
		forward:  newWinogradPlan(s.In, s.Out, s.H, s.W, s.Pad, oh, ow),
		backward: newWinogradPlan(s.Out, s.In, oh, ow, 2-s.Pad, s.H, s.W),
	}
}

// Shape returns the shape that the convolution was made for.
func (c *Winograd) Shape() ConvShape { return c.shape }

// OutputSize returns the height and width of the output.
func (c *Winograd) OutputSize() (oh, ow int) { return c.forward.oh, c.forward.ow }

// InputLen returns the number of values of n blocked inputs, [n, Blocks(In), H, W, BlockChannels].
func (c *Winograd) InputLen(n int) int { return n * c.forward.sourceLen() }

// OutputLen returns the number of values of n blocked outputs, [n, Blocks(Out), OH, OW, BlockChannels].
func (c *Winograd) OutputLen(n int) int { return n * c.forward.targetLen() }

// WeightsLen returns the number of values of packed weights, transposed or not.
func (c *Winograd) WeightsLen() int {
	return winogradPlanes * max(c.forward.filterPlane(), c.backward.filterPlane())
}

// GradientLen returns the number of values of the gradient of the weights.
func (c *Winograd) GradientLen() int { return c.forward.filtersLen() }

// PackWeights transforms weights, [Out, In, 3, 3], for Forward.
func (c *Winograd) PackWeights(threads int, weights, packed []float32) {
	checkLen("PackWeights", "weights", len(weights), 9*c.shape.In*c.shape.Out)
	checkLen("PackWeights", "packed", len(packed), c.WeightsLen())
	in := c.shape.In
	c.forward.pack(threads, packed, func(out, channel int) []float32 { return weights[(out*in+channel)*9:][:9] }, false)
}

// PackTransposed transforms weights, [Out, In, 3, 3], for BackwardData.
func (c *Winograd) PackTransposed(threads int, weights, packed []float32) {
	checkLen("PackTransposed", "weights", len(weights), 9*c.shape.In*c.shape.Out)
	checkLen("PackTransposed", "packed", len(packed), c.WeightsLen())
	in := c.shape.In
	c.backward.pack(threads, packed, func(channel, out int) []float32 { return weights[(out*in+channel)*9:][:9] }, true)
}

// UnpackGradient brings the gradient of BackwardWeights into the layout of the weights.
func (c *Winograd) UnpackGradient(threads int, gradient, weights []float32) {
	const b = BlockChannels
	checkLen("UnpackGradient", "gradient", len(gradient), c.GradientLen())
	checkLen("UnpackGradient", "weights", len(weights), 9*c.shape.In*c.shape.Out)
	in := c.shape.In
	Parallel(worthwhile(threads, packWork*9*in*c.shape.Out), c.shape.Out, func(out int) {
		from, to := gradient[out/b*in*9*b+out%b:], weights[out*in*9:][:in*9]
		for i := range to {
			to[i] = from[i*b]
		}
	})
}

// Forward convolves n images on up to [Threads](threads) threads: y = conv(x, weights), then the epilogue. x is
// blocked, of InputLen(n) values, weights are packed by PackWeights, y is blocked, of OutputLen(n) values; it must not
// overlap the others.
func (c *Winograd) Forward(threads, n int, x, weights, y []float32, e ConvEpilogue) {
	checkLen("Forward", "x", len(x), c.InputLen(n))
	checkLen("Forward", "weights", len(weights), c.WeightsLen())
	checkLen("Forward", "y", len(y), c.OutputLen(n))
	if e.Bias != nil {
		checkLen("Forward", "Bias", len(e.Bias), c.forward.outBlocks*BlockChannels)
	}
	c.forward.run(threads, n, convJob{source: x, weights: weights, target: y, bias: e.Bias, add: e.Add, relu: e.ReLU})
}

// BackwardData computes the gradient of n inputs from that of the outputs: dy is blocked, of OutputLen(n) values,
// weights are packed by PackTransposed, dx is blocked, of InputLen(n) values; with add, the gradient is added to what dx
// holds, which is otherwise overwritten.
func (c *Winograd) BackwardData(threads, n int, dy, weights, dx []float32, add bool) {
	checkLen("BackwardData", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardData", "weights", len(weights), c.WeightsLen())
	checkLen("BackwardData", "dx", len(dx), c.InputLen(n))
	c.backward.run(threads, n, convJob{source: dy, weights: weights, target: dx, add: add})
}

// winogradPlan is one direction: it holds what can be reckoned once. Lengths count values.
type winogradPlan struct {
	in, out             int // channels of source and target
	inBlocks, outBlocks int
	h, w, pad           int // source
	oh, ow              int // target
	tilesY, tilesX      int

	// A chunk is what one thread works on at a time: some rows of tiles of one image, or all those of some images.
	strips int // chunks of an image
	images int // images of a chunk; 1 where there are several strips
	tiles  int // of a chunk, at most

	sourcePitch, sourcePlane int // of transformed inputs: from tile to tile, from plane to plane
	targetPitch, targetPlane int // of products
	paddedRow, paddedLen     int // of the inputs of a chunk's image with what lies beyond its borders
}

// The number of values that the transformed tiles of a chunk may have, inputs and products together, which a second-level
// cache shall hold, and the most tiles and the fewest that are worth a chunk nevertheless.
const (
	winogradChunk    = 1 << 18
	winogradMaxTiles = 64
	winogradMinTiles = 28
)

func newWinogradPlan(in, out, h, w, pad, oh, ow int) winogradPlan {
	const b = BlockChannels
	p := winogradPlan{
		in: in, out: out, inBlocks: Blocks(in), outBlocks: Blocks(out), h: h, w: w, pad: pad, oh: oh, ow: ow,
		tilesY: (oh + winogradTile - 1) / winogradTile, tilesX: (ow + winogradTile - 1) / winogradTile,
	}
	p.sourcePitch, p.targetPitch = p.inBlocks*b, p.outBlocks*b
	most := min(winogradMaxTiles, max(winogradMinTiles, winogradChunk/(winogradPlanes*(p.sourcePitch+p.targetPitch))))
	image := p.tilesY * p.tilesX
	p.images = max(1, most/image)
	p.strips = 1
	if image > most {
		rows := max(1, most/p.tilesX)
		p.strips = (p.tilesY + rows - 1) / rows
	}
	rows := (p.tilesY + p.strips - 1) / p.strips
	p.tiles = p.images * rows * p.tilesX
	p.sourcePlane, p.targetPlane = planeLen(p.tiles*p.sourcePitch), planeLen(p.tiles*p.targetPitch)
	p.paddedRow = (p.tilesX*winogradTile + 2) * b
	p.paddedLen = (rows*winogradTile + 2) * p.paddedRow
	return p
}

// planeLen returns the distance of planes of so many values: an odd number of cache lines, so that a tile's values in all
// planes do not fall into the same set of a cache.
func planeLen(values int) int {
	const line = 16
	return (values+line-1)/line/2*2*line + line
}

func (p *winogradPlan) sourceLen() int { return p.inBlocks * p.h * p.w * BlockChannels }
func (p *winogradPlan) targetLen() int { return p.outBlocks * p.oh * p.ow * BlockChannels }

// filtersLen is the number of values of filters [outBlocks, in, 3, 3, 16].
func (p *winogradPlan) filtersLen() int { return p.outBlocks * p.in * 9 * BlockChannels }

// filterPlane is the distance of planes of transformed filters, each [outBlocks, in, 16].
func (p *winogradPlan) filterPlane() int { return planeLen(p.outBlocks * p.in * BlockChannels) }

// pack transforms filters; filter returns the nine weights of a pair of channels, which are turned by 180 degrees where
// asked for.
func (p *winogradPlan) pack(threads int, packed []float32, filter func(out, in int) []float32, turned bool) {
	const b = BlockChannels
	Parallel(worthwhile(threads, packWork*p.filtersLen()), p.outBlocks, func(block int) {
		filters := borrow[float32](p.in * 9 * b)
		defer giveBack(filters)
		channels := min(b, p.out-block*b)
		if channels < b {
			clear(filters)
		}
		for c := range channels {
			for in := range p.in {
				to := filters[in*9*b+c:]
				for i, v := range filter(block*b+c, in) {
					if turned {
						i = 8 - i
					}
					to[i*b] = v
				}
			}
		}
		t := winogradTransform{
			source: filters, row: 3 * b, sourceNext: 9 * b,
			target: packed, targetAt: block * p.in * b, plane: p.filterPlane(), targetNext: b, count: p.in,
		}
		t.run(winogradFilter)
	})
}

// chunk is a piece of a job.
type chunk struct {
	image, images int // first image and their number
	row, rows     int // of tiles
	tiles         int
}

func (p *winogradPlan) chunks(n int) int {
	if p.strips > 1 {
		return n * p.strips
	}
	return (n + p.images - 1) / p.images
}

// chunk returns chunk i of n images.
func (p *winogradPlan) chunk(i, n int) chunk {
	c := chunk{images: 1}
	if p.strips > 1 {
		c.image = i / p.strips
		strip := i % p.strips
		c.row = strip * p.tilesY / p.strips
		c.rows = (strip+1)*p.tilesY/p.strips - c.row
	} else {
		c.image = i * p.images
		c.images = min(p.images, n-c.image)
		c.rows = p.tilesY
	}
	c.tiles = c.images * c.rows * p.tilesX
	return c
}

// work returns the number of multiply-adds for one image, roughly.
func (p *winogradPlan) work() int {
	return p.tilesY * p.tilesX * winogradPlanes * p.in * p.out
}

// run shares a job among threads by chunks.
func (p *winogradPlan) run(threads, n int, job convJob) {
	if n == 0 {
		return
	}
	threads = worthwhile(threads, n*p.work())
	chunks := p.chunks(n)
	ParallelPieces(threads, chunks, max(1, chunks/(threads*piecesPerThread)), func(_, from, to int) {
		scratch := borrow[float32](winogradPlanes*(p.sourcePlane+p.targetPlane) + p.paddedLen)
		defer giveBack(scratch)
		planes, products := scratch[:winogradPlanes*p.sourcePlane], scratch[winogradPlanes*p.sourcePlane:]
		products, padded := products[:winogradPlanes*p.targetPlane], products[winogradPlanes*p.targetPlane:]
		clear(padded)
		for i := from; i < to; i++ {
			c := p.chunk(i, n)
			p.spread(c, job.source, padded, planes)
			p.multiply(c, planes, job.weights, products)
			p.gather(c, products, &job)
		}
	})
}

// spread transforms the inputs of a chunk to planes. padded is zero in the columns beyond the source.
func (p *winogradPlan) spread(c chunk, source, padded, planes []float32) {
	const b = BlockChannels
	t := winogradTransform{
		source: padded, row: p.paddedRow, sourceNext: winogradTile * b,
		target: planes, plane: p.sourcePlane, targetNext: p.sourcePitch, count: p.tilesX,
	}
	p.eachLine(c, source, padded, func(line, block, at int) {
		t.sourceAt, t.targetAt = at, line*p.tilesX*p.sourcePitch+block*b
		t.run(winogradInput)
	})
}

// eachLine calls fn for each line of tiles of a chunk's images, and each block of channels, with the place of its inputs
// in padded.
func (p *winogradPlan) eachLine(c chunk, source, padded []float32, fn func(line, block, at int)) {
	const b = BlockChannels
	for image := range c.images {
		for block := range p.inBlocks {
			plane := source[((c.image+image)*p.inBlocks+block)*p.h*p.w*b:][:p.h*p.w*b]
			for line := range c.rows*winogradTile + 2 {
				to := padded[line*p.paddedRow+p.pad*b:][:p.w*b]
				if y := c.row*winogradTile + line - p.pad; y >= 0 && y < p.h {
					copy(to, plane[y*p.w*b:])
				} else {
					clear(to)
				}
			}
			for row := range c.rows {
				fn(image*c.rows+row, block, row*winogradTile*p.paddedRow)
			}
		}
	}
}

// multiply computes the products of a chunk, [36, tiles, out].
func (p *winogradPlan) multiply(c chunk, planes, weights, products []float32) {
	const b = BlockChannels
	maxRows, maxBlocks := productTileSize()
	t := winogradProduct{
		a: planes, aPitch: p.sourcePitch, aPlane: p.sourcePlane,
		b: weights, bPitch: b, bNext: p.in * b, bPlane: p.filterPlane(),
		c: products, cPitch: p.targetPitch, cNext: b, cPlane: p.targetPlane, k: p.in,
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

// gather makes the outputs of a chunk of the products.
func (p *winogradPlan) gather(c chunk, products []float32, job *convJob) {
	const b, side = BlockChannels, winogradTile
	var zeros [b]float32
	t := winogradTransform{
		source: products, plane: p.targetPlane, sourceNext: p.targetPitch, targetNext: side * b,
		bias: zeros[:], add: job.add, relu: job.relu,
	}
	whole := p.ow / side
	for image := range c.images {
		for block := range p.outBlocks {
			if job.bias != nil {
				t.bias = job.bias[block*b:][:b]
			}
			for row := range c.rows {
				y := (c.row + row) * side
				first := (image*c.rows+row)*p.tilesX*p.targetPitch + block*b
				target := (((c.image+image)*p.outBlocks+block)*p.oh + y) * p.ow * b
				from := 0
				if y+side <= p.oh && whole > 0 {
					t.sourceAt, t.target, t.targetAt, t.row, t.count = first, job.target, target, p.ow*b, whole
					t.run(winogradOutput)
					from = whole
				}
				for x := from; x < p.tilesX; x++ {
					t.sourceAt = first + x*p.targetPitch
					p.gatherPart(&t, job.target[target+x*side*b:], min(side, p.oh-y), min(side, p.ow-x*side))
				}
			}
		}
	}
}

// gatherPart makes the first rows and columns of a tile.
func (p *winogradPlan) gatherPart(t *winogradTransform, target []float32, rows, columns int) {
	const b, side = BlockChannels, winogradTile
	var tile [side * side * b]float32
	if t.add {
		for y := range rows {
			copy(tile[y*side*b:][:columns*b], target[y*p.ow*b:])
		}
	}
	t.target, t.targetAt, t.row, t.count = tile[:], 0, side*b, 1
	t.run(winogradOutput)
	for y := range rows {
		copy(target[y*p.ow*b:][:columns*b], tile[y*side*b:])
	}
}

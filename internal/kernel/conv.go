package kernel

import (
	"fmt"
	"math/bits"
)

// BlockChannels is the number of channels that lie next to each other in blocked activations and weights.
const BlockChannels = 16

// Blocks returns how many blocks hold so many channels; the last one may be filled in part.
func Blocks(channels int) int { return (channels + BlockChannels - 1) / BlockChannels }

// Block lays out plain, [n, channels, pixels], in blocks of channels: blocked is [n, Blocks(channels), pixels,
// BlockChannels], with zeros where the last block has no channel.
func Block(n, channels, pixels int, plain, blocked []float32) {
	blocks := Blocks(channels)
	checkLen("Block", "plain", len(plain), n*channels*pixels)
	checkLen("Block", "blocked", len(blocked), n*blocks*pixels*BlockChannels)
	for i := range n {
		for b := range blocks {
			out := blocked[(i*blocks+b)*pixels*BlockChannels:][:pixels*BlockChannels]
			count := min(BlockChannels, channels-b*BlockChannels)
			if count < BlockChannels {
				clear(out)
			}
			for c := range count {
				in := plain[(i*channels+b*BlockChannels+c)*pixels:][:pixels]
				for p, v := range in {
					out[p*BlockChannels+c] = v
				}
			}
		}
	}
}

// Unblock undoes [Block].
func Unblock(n, channels, pixels int, blocked, plain []float32) {
	blocks := Blocks(channels)
	checkLen("Unblock", "plain", len(plain), n*channels*pixels)
	checkLen("Unblock", "blocked", len(blocked), n*blocks*pixels*BlockChannels)
	for i := range n {
		for c := range channels {
			in := blocked[(i*blocks+c/BlockChannels)*pixels*BlockChannels:][:pixels*BlockChannels]
			out := plain[(i*channels+c)*pixels:][:pixels]
			for p := range out {
				out[p] = in[p*BlockChannels+c%BlockChannels]
			}
		}
	}
}

// ConvShape is the shape of a two-dimensional convolution (cross-correlation, as is usual in nets) with a square
// window, on images of [In, H, W].
type ConvShape struct {
	In, Out  int // channels
	H, W     int // pixels of the input
	Kernel   int // side of the window, 1 to 64
	Stride   int // step of the window, at least 1
	Pad      int // zero rows and columns on each side
	Dilation int // distance between the taps of the window, at least 1
}

// Conv computes convolutions of one shape, forward and backward, directly on blocked activations (see [Block]): nothing
// is unrolled or padded in memory. It holds what can be reckoned once; its methods may be called at the same time.
//
// Every output is a sum over input blocks, then rows and columns of the window, then the channels of the block, in this
// order; a gradient of the weights is a sum over images, rows and columns, in groups of images that depend on the shape
// and n only. So no result depends on the number of threads, and neither the output nor the gradient of an image on
// what else is in the batch. AVX-512 and AVX2 give the same bits.
type Conv struct {
	shape                 ConvShape
	oh, ow                int
	inBlocks, outBlocks   int
	forward, backward     convPlan
	weightTaps            []convWindow // one for each tap of the window
	weightLen, filterSize int
}

// convPlan is one direction of a convolution, from an activation of source blocks to one of target blocks.
type convPlan struct {
	sourceBlocks, sourceH, sourceW int
	targetBlocks, targetH, targetW int
	sourceStep, targetStep         int // pixels from one position to the next
	filter                         int // values of the weights of one target block
	shape                          ConvShape
	sourceChannels                 int
	regions                        []convRegion
	tapCount                       int // in all regions that hold theirs
	work                           int // multiply-adds for one image
}

// maxPlanTaps is the number of taps that a plan holds in its regions; beyond that, which only very large windows reach,
// regions have theirs listed when they are worked on.
const maxPlanTaps = 1 << 16

// convRegion is a rectangle of positions that all see the same taps of the window.
type convRegion struct {
	y, x   int // first target pixel
	sy, sx int // the source pixel of the first position, before a tap's offset: it may lie outside
	ny, nx int
	ty, tx []convOffset // taps of the window, by axis
	taps   []convTap    // nil where the plan would become too large
}

// convTap is one tap of the window on one block of the source. The assembly knows its layout.
type convTap struct {
	source   int // offset from the source pixel of a position, in bytes
	weights  int // offset within the weights of a target block, in bytes
	channels int // of the source block
}

// convWindow is what one tap of the window sees: the outputs of rows [oy, oy+ny) and columns [ox, ox+nx) see the inputs
// from (iy, ix) on, a stride apart.
type convWindow struct {
	oy, ox, ny, nx, iy, ix int
}

// NewConv prepares convolutions of a shape. It panics where the shape makes no sense or the window does not fit.
func NewConv(s ConvShape) *Conv {
	if s.In < 1 || s.Out < 1 || s.H < 1 || s.W < 1 || s.Kernel < 1 || s.Kernel > 64 || s.Stride < 1 || s.Pad < 0 || s.Dilation < 1 {
		panic(fmt.Sprintf("kernel: convolution of shape %+v", s))
	}
	c := &Conv{
		shape: s,
		oh:    ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation), ow: ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation),
		inBlocks: Blocks(s.In), outBlocks: Blocks(s.Out),
	}
	if c.oh < 1 || c.ow < 1 {
		panic(fmt.Sprintf("kernel: the window of %+v does not fit", s))
	}
	c.filterSize = s.Kernel * s.Kernel * BlockChannels * BlockChannels
	c.weightLen = c.inBlocks * c.outBlocks * c.filterSize

	c.forward = convPlan{
		sourceBlocks: c.inBlocks, sourceH: s.H, sourceW: s.W, targetBlocks: c.outBlocks, targetH: c.oh, targetW: c.ow,
		sourceStep: s.Stride, targetStep: 1, filter: c.inBlocks * c.filterSize, shape: s, sourceChannels: s.In, work: c.work(),
	}
	offsets := make([]convOffset, s.Kernel)
	for k := range offsets {
		offsets[k] = convOffset{k, k*s.Dilation - s.Pad}
	}
	c.forward.add(0, 0, convLine(c.oh, s.H, s.Stride, offsets), convLine(c.ow, s.W, s.Stride, offsets))

	// Input pixel r + stride*j takes its gradient from the outputs j + (r + pad - k*dilation) / stride of the taps k for
	// which that is a whole number: each remainder r is a convolution of its own, over the outputs one by one.
	c.backward = convPlan{
		sourceBlocks: c.outBlocks, sourceH: c.oh, sourceW: c.ow, targetBlocks: c.inBlocks, targetH: s.H, targetW: s.W,
		sourceStep: 1, targetStep: s.Stride, filter: c.outBlocks * c.filterSize, shape: s, sourceChannels: s.Out, work: c.work(),
	}
	phase := func(r int) []convOffset {
		var offsets []convOffset
		for k := range s.Kernel {
			if d := r + s.Pad - k*s.Dilation; d%s.Stride == 0 {
				offsets = append(offsets, convOffset{k, d / s.Stride})
			}
		}
		return offsets
	}
	for ry := range min(s.Stride, s.H) {
		for rx := range min(s.Stride, s.W) {
			c.backward.add(ry, rx,
				convLine((s.H-ry+s.Stride-1)/s.Stride, c.oh, 1, phase(ry)),
				convLine((s.W-rx+s.Stride-1)/s.Stride, c.ow, 1, phase(rx)))
		}
	}

	for ky := range s.Kernel {
		for kx := range s.Kernel {
			y0, y1 := inside(s.H, c.oh, s.Stride, ky*s.Dilation-s.Pad)
			x0, x1 := inside(s.W, c.ow, s.Stride, kx*s.Dilation-s.Pad)
			c.weightTaps = append(c.weightTaps, convWindow{
				oy: y0, ox: x0, ny: y1 - y0, nx: x1 - x0,
				iy: y0*s.Stride + ky*s.Dilation - s.Pad, ix: x0*s.Stride + kx*s.Dilation - s.Pad,
			})
		}
	}
	return c
}

// convOffset is where a tap of the window looks on one axis, relative to a position's own source pixel.
type convOffset struct{ tap, offset int }

// convSegment is a run of positions on one axis that see the same taps.
type convSegment struct {
	from, n int
	taps    []convOffset
}

// convLine cuts the positions of one axis into segments; position i looks at the source pixels i*step + offset.
func convLine(positions, size, step int, offsets []convOffset) []convSegment {
	var segments []convSegment
	var last uint64
	for i := range positions {
		var seen uint64
		for j, o := range offsets {
			if p := i*step + o.offset; p >= 0 && p < size {
				seen |= 1 << j
			}
		}
		if len(segments) > 0 && seen == last {
			segments[len(segments)-1].n++
			continue
		}
		last = seen
		segment := convSegment{from: i, n: 1}
		for rest := seen; rest != 0; rest &= rest - 1 {
			segment.taps = append(segment.taps, offsets[bits.TrailingZeros64(rest)])
		}
		segments = append(segments, segment)
	}
	return segments
}

// add appends the regions of one phase, whose first target pixel is (ry, rx).
func (p *convPlan) add(ry, rx int, lines, columns []convSegment) {
	for _, v := range lines {
		for _, h := range columns {
			r := convRegion{
				y: ry + v.from*p.targetStep, x: rx + h.from*p.targetStep,
				sy: v.from * p.sourceStep, sx: h.from * p.sourceStep,
				ny: v.n, nx: h.n, ty: v.taps, tx: h.taps,
			}
			if count := p.sourceBlocks * len(r.ty) * len(r.tx); p.tapCount+count <= maxPlanTaps {
				p.tapCount += count
				r.taps = p.list(&r, make([]convTap, 0, count))
			}
			p.regions = append(p.regions, r)
		}
	}
}

// list appends the taps of a region in the order of summation.
func (p *convPlan) list(r *convRegion, taps []convTap) []convTap {
	const b = BlockChannels
	for block := range p.sourceBlocks {
		for _, ty := range r.ty {
			for _, tx := range r.tx {
				taps = append(taps, convTap{
					source:   4 * b * ((block*p.sourceH+ty.offset)*p.sourceW + tx.offset),
					weights:  4 * b * b * ((block*p.shape.Kernel+ty.tap)*p.shape.Kernel + tx.tap),
					channels: min(b, p.sourceChannels-block*b),
				})
			}
		}
	}
	return taps
}

// work returns the number of multiply-adds for one image.
func (c *Conv) work() int {
	return c.shape.In * c.shape.Out * c.taps() * c.oh * c.ow
}

// Shape returns the shape that the convolution was made for.
func (c *Conv) Shape() ConvShape { return c.shape }

// OutputSize returns the height and width of the output.
func (c *Conv) OutputSize() (oh, ow int) { return c.oh, c.ow }

// InputLen returns the number of values of n blocked inputs, [n, Blocks(In), H, W, BlockChannels].
func (c *Conv) InputLen(n int) int {
	return n * c.inBlocks * c.shape.H * c.shape.W * BlockChannels
}

// OutputLen returns the number of values of n blocked outputs, [n, Blocks(Out), OH, OW, BlockChannels].
func (c *Conv) OutputLen(n int) int { return n * c.outBlocks * c.oh * c.ow * BlockChannels }

// WeightsLen returns the number of values of packed weights, which is that of transposed ones too.
func (c *Conv) WeightsLen() int { return c.weightLen }

// GradientLen returns the number of values of the gradient of the weights.
func (c *Conv) GradientLen() int { return c.weightLen }

// PackWeights lays out weights, [Out, In, Kernel, Kernel], for Forward: [Blocks(Out), Blocks(In), Kernel, Kernel,
// BlockChannels of In, BlockChannels of Out], zeros where a block has no channel.
func (c *Conv) PackWeights(weights, packed []float32) {
	c.checkWeights("PackWeights", weights, packed)
	clear(packed[:c.weightLen])
	c.eachFilter(func(plain, out, in int) {
		at := c.packedAt(c.inBlocks, out, in)
		for tap, v := range weights[plain:][:c.taps()] {
			packed[at+tap*BlockChannels*BlockChannels] = v
		}
	})
}

// PackTransposed lays out weights, [Out, In, Kernel, Kernel], for BackwardData: [Blocks(In), Blocks(Out), Kernel,
// Kernel, BlockChannels of Out, BlockChannels of In], zeros where a block has no channel.
func (c *Conv) PackTransposed(weights, packed []float32) {
	c.checkWeights("PackTransposed", weights, packed)
	clear(packed[:c.weightLen])
	c.eachFilter(func(plain, out, in int) {
		at := c.packedAt(c.outBlocks, in, out)
		for tap, v := range weights[plain:][:c.taps()] {
			packed[at+tap*BlockChannels*BlockChannels] = v
		}
	})
}

// UnpackGradient brings the gradient of BackwardWeights, which lies as PackWeights lays out weights, into the layout of
// the weights.
func (c *Conv) UnpackGradient(gradient, weights []float32) {
	c.checkWeights("UnpackGradient", weights, gradient)
	c.eachFilter(func(plain, out, in int) {
		at := c.packedAt(c.inBlocks, out, in)
		for tap := range c.taps() {
			weights[plain+tap] = gradient[at+tap*BlockChannels*BlockChannels]
		}
	})
}

// taps returns the number of taps of the window.
func (c *Conv) taps() int { return c.shape.Kernel * c.shape.Kernel }

// eachFilter calls fn for every pair of channels with the place of its first weight in the plain layout.
func (c *Conv) eachFilter(fn func(plain, out, in int)) {
	for out := range c.shape.Out {
		for in := range c.shape.In {
			fn((out*c.shape.In+in)*c.taps(), out, in)
		}
	}
}

// packedAt returns the place of the first tap of a pair of channels in packed weights of so many source blocks.
func (c *Conv) packedAt(sourceBlocks, target, source int) int {
	const b = BlockChannels
	return ((target/b*sourceBlocks+source/b)*c.taps()*b+source%b)*b + target%b
}

func (c *Conv) checkWeights(name string, weights, packed []float32) {
	checkLen(name, "weights", len(weights), c.shape.Out*c.shape.In*c.shape.Kernel*c.shape.Kernel)
	checkLen(name, "packed", len(packed), c.weightLen)
}

// ConvEpilogue is what [Conv.Forward] does to its sums before it writes them.
type ConvEpilogue struct {
	// Bias is added to each channel where it is not nil: [Blocks(Out)*BlockChannels], zeros where a block has no channel.
	Bias []float32
	// Add adds what the output holds already, which is otherwise overwritten: the other branch of a residual layer.
	Add bool
	// ReLU replaces values below zero by zero, after all else. NaN stays.
	ReLU bool
}

// Forward convolves n images on up to [Threads](threads) threads: y = conv(x, weights), then the epilogue. x is
// blocked, of InputLen(n) values, weights are packed by PackWeights, y is blocked, of OutputLen(n) values; it must not
// overlap the others.
func (c *Conv) Forward(threads, n int, x, weights, y []float32, e ConvEpilogue) {
	checkLen("Forward", "x", len(x), c.InputLen(n))
	checkLen("Forward", "weights", len(weights), c.weightLen)
	checkLen("Forward", "y", len(y), c.OutputLen(n))
	if e.Bias != nil {
		checkLen("Forward", "Bias", len(e.Bias), c.outBlocks*BlockChannels)
	}
	c.forward.run(threads, n, convJob{source: x, weights: weights, target: y, bias: e.Bias, add: e.Add, relu: e.ReLU})
}

// BackwardData computes the gradient of n inputs from that of the outputs: dy is blocked, of OutputLen(n) values,
// weights are packed by PackTransposed, dx is blocked, of InputLen(n) values; with add, the gradient is added to what dx
// holds, which is otherwise overwritten.
func (c *Conv) BackwardData(threads, n int, dy, weights, dx []float32, add bool) {
	checkLen("BackwardData", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardData", "weights", len(weights), c.weightLen)
	checkLen("BackwardData", "dx", len(dx), c.InputLen(n))
	c.backward.run(threads, n, convJob{source: dy, weights: weights, target: dx, add: add})
}

// convJob is one call of a plan.
type convJob struct {
	source, weights, target, bias []float32
	add, relu                     bool
}

// run shares a job among threads: by images and, where there are few, by target blocks too.
func (p *convPlan) run(threads, n int, job convJob) {
	if n == 0 {
		return
	}
	_, maxBlocks := convTileSize()
	groups := (p.targetBlocks + maxBlocks - 1) / maxBlocks
	threads = worthwhile(threads, n*p.work)
	if n >= threads {
		ParallelRanges(threads, n, func(_, from, to int) { p.compute(&job, from, to, 0, groups) })
		return
	}
	Parallel(threads, n*groups, func(i int) { p.compute(&job, i/groups, i/groups+1, i%groups, i%groups+1) })
}

// compute computes images [n0, n1) of groups [g0, g1) of target blocks.
func (p *convPlan) compute(job *convJob, n0, n1, g0, g1 int) {
	maxPixels, maxBlocks := convTileSize()
	t := convTile{job: job, plan: p}
	group := func(g int) {
		t.block = g * maxBlocks
		t.blocks = min(maxBlocks, p.targetBlocks-t.block)
	}
	// plane works on the current region of one image.
	plane := func(i int) {
		r := t.r
		if r.nx >= min(r.ny, maxPixels) {
			for y := range r.ny {
				eachTile(r.nx, maxPixels, func(from, count int) { t.pixels(i, y, from, count, 0, 1, 0) })
			}
			return
		}
		for x := range r.nx {
			eachTile(r.ny, maxPixels, func(from, count int) { t.pixels(i, from, x, count, 1, 0, 0) })
		}
	}
	// Rows and columns of a few pixels would leave the registers half empty: such tiles run through the images.
	through := func(r *convRegion) bool { return max(r.nx, r.ny) < 5 && n1-n0 > max(r.nx, r.ny) }
	for i := n0; i < n1; i++ {
		for g := g0; g < g1; g++ {
			group(g)
			for j := range p.regions {
				if t.r = &p.regions[j]; t.r.taps != nil && !through(t.r) {
					plane(i)
				}
			}
		}
	}
	// The other regions one by one, each for all images.
	var listed convRegion
	var taps []convTap
	for j := range p.regions {
		t.r = &p.regions[j]
		if t.r.taps != nil && !through(t.r) {
			continue
		}
		if t.r.taps == nil {
			taps = p.list(t.r, taps[:0])
			listed = *t.r
			listed.taps = taps
			t.r = &listed
		}
		for g := g0; g < g1; g++ {
			group(g)
			if !through(t.r) {
				for i := n0; i < n1; i++ {
					plane(i)
				}
				continue
			}
			eachTile(n1-n0, maxPixels, func(from, count int) {
				for y := range t.r.ny {
					for x := range t.r.nx {
						t.pixels(n0+from, y, x, count, 0, 0, 1)
					}
				}
			})
		}
	}
}

// eachTile cuts n pixels into as few tiles as can be, nearly equally long.
func eachTile(n, longest int, fn func(from, count int)) {
	tiles := (n + longest - 1) / longest
	for i := range tiles {
		from, to := i*n/tiles, (i+1)*n/tiles
		fn(from, to-from)
	}
}

// convTile computes the tiles of a job one after the other. It counts values, not bytes.
type convTile struct {
	job           *convJob
	plan          *convPlan
	r             *convRegion
	block, blocks int // target blocks of the tile

	// The tile at hand.
	source, sourcePitch     int // first pixel, before a tap's offset: it may lie outside; from pixel to pixel
	target, targetPitch     int
	targetNext, weightsNext int // from block to block
	count                   int // pixels
}

// pixels computes a tile of region t.r: count positions from row y, column x and image i on, of which one row, column
// or image (dy, dx or di is 1) follows the other.
func (t *convTile) pixels(i, y, x, count, dy, dx, di int) {
	const b = BlockChannels
	p, r := t.plan, t.r
	sourcePlane, targetPlane := p.sourceH*p.sourceW*b, p.targetH*p.targetW*b
	t.source = i*p.sourceBlocks*sourcePlane + ((r.sy+y*p.sourceStep)*p.sourceW+r.sx+x*p.sourceStep)*b
	t.sourcePitch = di*p.sourceBlocks*sourcePlane + (dy*p.sourceW+dx)*p.sourceStep*b
	t.target = (i*p.targetBlocks+t.block)*targetPlane + ((r.y+y*p.targetStep)*p.targetW+r.x+x*p.targetStep)*b
	t.targetPitch = di*p.targetBlocks*targetPlane + (dy*p.targetW+dx)*p.targetStep*b
	t.targetNext, t.weightsNext = targetPlane, p.filter
	t.count = count
	t.run()
}

// runGo is the plain version of a tile.
func (t *convTile) runGo() {
	job := t.job
	const b, half = BlockChannels, BlockChannels / 2
	for block := range t.blocks {
		for pixel := range t.count {
			target := job.target[t.target+block*t.targetNext+pixel*t.targetPitch:][:b]
			at := t.source + pixel*t.sourcePitch
			for h := 0; h < b; h += half {
				var s0, s1, s2, s3, s4, s5, s6, s7 float32
				for _, tap := range t.r.taps {
					weights := job.weights[(t.block+block)*t.weightsNext+tap.weights/4+h:]
					source := job.source[at+tap.source/4:][:tap.channels]
					for c, v := range source {
						w := weights[c*b:][:half]
						s0 += v * w[0]
						s1 += v * w[1]
						s2 += v * w[2]
						s3 += v * w[3]
						s4 += v * w[4]
						s5 += v * w[5]
						s6 += v * w[6]
						s7 += v * w[7]
					}
				}
				sums := [half]float32{s0, s1, s2, s3, s4, s5, s6, s7}
				for c, s := range sums {
					if job.bias != nil {
						s += job.bias[(t.block+block)*b+h+c]
					}
					if job.add {
						s += target[h+c]
					}
					if job.relu && s < 0 {
						s = 0
					}
					target[h+c] = s
				}
			}
		}
	}
}

// convGroups returns into how many groups of images the gradient of the weights is cut: enough work for many threads,
// always the same for a shape.
func (c *Conv) convGroups(n int) int {
	const enough = 32
	pairs := c.inBlocks * c.outBlocks
	return min(n, (enough+pairs-1)/pairs)
}

// BackwardWeights computes the gradient of the weights, summed over n images: x is blocked, of InputLen(n) values, dy of
// OutputLen(n); dw is overwritten by the gradient in the layout of PackWeights.
func (c *Conv) BackwardWeights(threads, n int, x, dy, dw []float32) {
	checkLen("BackwardWeights", "x", len(x), c.InputLen(n))
	checkLen("BackwardWeights", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardWeights", "dw", len(dw), c.weightLen)
	dw = dw[:c.weightLen]
	clear(dw)
	if n == 0 {
		return
	}
	groups, pairs := c.convGroups(n), c.inBlocks*c.outBlocks
	scratch, release := goScratch[float32]((groups - 1) * c.weightLen)
	defer release()
	part := func(group int) []float32 {
		if group == 0 {
			return dw
		}
		return scratch[(group-1)*c.weightLen:][:c.weightLen]
	}
	threads = worthwhile(threads, n*c.work())
	ParallelRanges(threads, groups*pairs, func(_, from, to int) {
		var w convWeightsTile
		for i := from; i < to; i++ {
			group, pair := i/pairs, i%pairs
			out := part(group)[pair*c.filterSize:][:c.filterSize]
			clear(out)
			c.pairWeights(&w, x, dy, out, group*n/groups, (group+1)*n/groups, pair/c.inBlocks, pair%c.inBlocks)
		}
	})
	if groups > 1 {
		ParallelRanges(threads, pairs, func(_, from, to int) {
			from, to = from*c.filterSize, to*c.filterSize
			for group := 1; group < groups; group++ {
				Add(part(group)[from:to], dw[from:to])
			}
		})
	}
}

// pairWeights adds to out, [Kernel, Kernel, 16 of In, 16 of Out], the gradient of one pair of blocks over images
// [n0, n1).
func (c *Conv) pairWeights(w *convWeightsTile, x, dy, out []float32, n0, n1, outBlock, inBlock int) {
	const b, cache = BlockChannels, 24 << 10
	inLen, outLen := c.shape.H*c.shape.W*b, c.oh*c.ow*b
	// As many images at a time as the second-level cache holds well, for all taps.
	step := max(1, cache/(inLen+outLen))
	w.xPitch, w.xRow, w.xImage = c.shape.Stride*b, c.shape.Stride*c.shape.W*b, c.inBlocks*inLen
	w.dyRow, w.dyImage = c.ow*b, c.outBlocks*outLen
	w.channels = min(b, c.shape.In-inBlock*b)
	for i := n0; i < n1; i += step {
		w.images = min(step, n1-i)
		for tap, win := range c.weightTaps {
			if win.ny <= 0 || win.nx <= 0 {
				continue
			}
			w.x = x[(i*c.inBlocks+inBlock)*inLen+(win.iy*c.shape.W+win.ix)*b:]
			w.dy = dy[(i*c.outBlocks+outBlock)*outLen+(win.oy*c.ow+win.ox)*b:]
			w.dw = out[tap*b*b:][:b*b]
			w.rows, w.cols = win.ny, win.nx
			w.run()
		}
	}
}

// convWeightsTile is the gradient of one tap over a rectangle of pixels of some images, for one pair of blocks. It counts
// values, not bytes.
type convWeightsTile struct {
	x, dy, dw            []float32
	images, rows, cols   int
	xPitch, xRow, xImage int
	dyRow, dyImage       int
	channels             int // of the input block
}

// runGo is the plain version.
func (w *convWeightsTile) runGo() {
	const b, half = BlockChannels, BlockChannels / 2
	for channel := range w.channels {
		for h := 0; h < b; h += half {
			out := w.dw[channel*b+h:][:half]
			s0, s1, s2, s3, s4, s5, s6, s7 := out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7]
			for image := range w.images {
				for row := range w.rows {
					x := w.x[image*w.xImage+row*w.xRow+channel:]
					dy := w.dy[image*w.dyImage+row*w.dyRow+h:]
					for col := range w.cols {
						v, d := x[col*w.xPitch], dy[col*b:][:half]
						s0 += v * d[0]
						s1 += v * d[1]
						s2 += v * d[2]
						s3 += v * d[3]
						s4 += v * d[4]
						s5 += v * d[5]
						s6 += v * d[6]
						s7 += v * d[7]
					}
				}
			}
			copy(out, []float32{s0, s1, s2, s3, s4, s5, s6, s7})
		}
	}
}

func checkLen(function, name string, got, want int) {
	if got < want {
		panic(fmt.Sprintf("kernel: %s: %d values for %s, want %d", function, got, name, want))
	}
}

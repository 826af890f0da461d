package kernel

import (
	"math"
	"unsafe"
)

// BF16 is a bfloat16 value: the sign, the exponent and the upper 7 bits of the fraction of a float32.
type BF16 uint16

// ToBF16 returns the bfloat16 value that is nearest to v, of two equally near ones that with the even fraction. As the
// processor's instruction does, it takes float32 values below 2^-126 for zero.
func ToBF16(v float32) BF16 {
	b := math.Float32bits(v)
	switch {
	case v != v:
		return BF16(b>>16 | 0x40) // a NaN stays one whatever is cut off
	case b&0x7f800000 == 0:
		return BF16(b >> 16 & 0x8000)
	}
	return BF16((b + 0x7fff + b>>16&1) >> 16)
}

// Float32 returns the value.
func (b BF16) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// bf16s returns the memory of x as bfloat16 values, two for each float32.
func bf16s(x []float32) []BF16 {
	return unsafe.Slice((*BF16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// HasBF16 tells whether [ConvBF16] runs on the processor's dot products of bfloat16: it has AVX512-BF16, and [Name] is
// "avx512". Otherwise it runs in plain Go, which is there as the reference and is slow.
func HasBF16() bool { return vector == vector512 && availableBF16 }

// ConvBF16 is [Conv] with products of bfloat16 values: activations, gradients and weights are rounded to bfloat16 (to
// nearest, ties to even), their products are exact, and the sums are of float32. Activations and gradients are float32
// outside: they are rounded, some images at a time, into memory that is small enough for the second-level cache. Packed
// weights are bfloat16 values, two in the place of a float32.
//
// What Conv says on the order of summation holds here too, but for pairs: Forward and BackwardData add channels 2i+1
// and 2i of the source with one instruction, BackwardWeights the images 2i+1 and 2i. Neither the number of threads nor
// what else is in the batch has an influence on an output or the gradient of an input.
//
// The instruction, VDPBF16PS, takes denormal values for zero and flushes denormal sums to zero. Between the products of a
// pair plain Go rounds to float32; the two agree within a few units in the last place of the sum of magnitudes.
type ConvBF16 struct{ conv *Conv }

// NewConvBF16 prepares convolutions of a shape. It panics where [NewConv] does.
func NewConvBF16(s ConvShape) *ConvBF16 { return &ConvBF16{NewConv(s)} }

// Shape returns the shape that the convolution was made for.
func (c *ConvBF16) Shape() ConvShape { return c.conv.shape }

// OutputSize returns the height and width of the output.
func (c *ConvBF16) OutputSize() (oh, ow int) { return c.conv.OutputSize() }

// InputLen returns the number of values of n blocked inputs, as [Conv.InputLen].
func (c *ConvBF16) InputLen(n int) int { return c.conv.InputLen(n) }

// OutputLen returns the number of values of n blocked outputs, as [Conv.OutputLen].
func (c *ConvBF16) OutputLen(n int) int { return c.conv.OutputLen(n) }

// WeightsLen returns the number of float32 values that have the room of packed weights, transposed or not.
func (c *ConvBF16) WeightsLen() int { return c.conv.weightLen / 2 }

// GradientLen returns the number of values of the gradient of the weights.
func (c *ConvBF16) GradientLen() int { return c.conv.weightLen }

// PackWeights rounds weights, [Out, In, Kernel, Kernel], and lays them out for Forward: BF16 values [Blocks(Out), Blocks(In),
// Kernel, Kernel, BlockChannels/2 pairs of In, BlockChannels of Out, 2], zeros where a block has no channel.
func (c *ConvBF16) PackWeights(threads int, weights, packed []float32) {
	c.pack("PackWeights", threads, weights, packed, false)
}

// PackTransposed rounds weights, [Out, In, Kernel, Kernel], and lays them out for BackwardData: BF16 values [Blocks(In),
// Blocks(Out), Kernel, Kernel, BlockChannels/2 pairs of Out, BlockChannels of In, 2], zeros where a block has no channel.
func (c *ConvBF16) PackTransposed(threads int, weights, packed []float32) {
	c.pack("PackTransposed", threads, weights, packed, true)
}

func (c *ConvBF16) pack(name string, threads int, weights, packed []float32, transposed bool) {
	const b = BlockChannels
	taps := c.conv.taps()
	checkLen(name, "weights", len(weights), c.conv.shape.Out*c.conv.shape.In*taps)
	checkLen(name, "packed", len(packed), c.WeightsLen())
	clear(packed[:c.WeightsLen()])
	to := bf16s(packed)
	sourceBlocks := c.conv.inBlocks
	if transposed {
		sourceBlocks = c.conv.outBlocks
	}
	c.conv.eachFilter(threads, func(plain, target, source int) {
		if transposed {
			target, source = source, target
		}
		at := ((target/b*sourceBlocks+source/b)*taps*b/2+source%b/2)*2*b + target%b*2 + source%2
		for tap, v := range weights[plain:][:taps] {
			to[at+tap*b*b] = ToBF16(v)
		}
	})
}

// UnpackGradient brings the gradient of BackwardWeights into the layout of the weights.
func (c *ConvBF16) UnpackGradient(threads int, gradient, weights []float32) {
	c.conv.UnpackGradient(threads, gradient, weights)
}

// Forward is [Conv.Forward] on weights packed by PackWeights.
func (c *ConvBF16) Forward(threads, n int, x, weights, y []float32, e ConvEpilogue) {
	checkLen("Forward", "x", len(x), c.InputLen(n))
	checkLen("Forward", "weights", len(weights), c.WeightsLen())
	checkLen("Forward", "y", len(y), c.OutputLen(n))
	if e.Bias != nil {
		checkLen("Forward", "Bias", len(e.Bias), c.conv.outBlocks*BlockChannels)
	}
	c.conv.forward.runBF16(threads, n, convJob{source: x, weightsBF16: bf16s(weights), target: y, bias: e.Bias, add: e.Add, relu: e.ReLU})
}

// BackwardData is [Conv.BackwardData] on weights packed by PackTransposed.
func (c *ConvBF16) BackwardData(threads, n int, dy, weights, dx []float32, add bool) {
	checkLen("BackwardData", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardData", "weights", len(weights), c.WeightsLen())
	checkLen("BackwardData", "dx", len(dx), c.InputLen(n))
	c.conv.backward.runBF16(threads, n, convJob{source: dy, weightsBF16: bf16s(weights), target: dx, add: add})
}

// cacheBF16 is the number of rounded values that are worked on at a time: 256 KiB.
const cacheBF16 = 128 << 10

// runBF16 rounds the source of a job and works the job off, as run does.
func (p *convPlan) runBF16(threads, n int, job convJob) {
	if n == 0 {
		return
	}
	_, maxBlocks := convTileSize()
	groups := (p.targetBlocks + maxBlocks - 1) / maxBlocks
	sourcePlane, targetLen := p.sourceH*p.sourceW*BlockChannels, p.targetBlocks*p.targetH*p.targetW*BlockChannels
	sourceLen := p.sourceBlocks * sourcePlane
	// part returns the job of images [from, to) and rounds their source into scratch.
	part := func(from, to int, scratch []BF16) convJob {
		j := job
		j.sourceBF16, j.target = scratch, job.target[from*targetLen:to*targetLen]
		for i := from; i < to; i++ {
			for block := range p.sourceBlocks {
				at := i*sourceLen + block*sourcePlane
				toBF16(job.source[at:][:sourcePlane], scratch[at-from*sourceLen:][:sourcePlane], p.sourceChannels-block*BlockChannels)
			}
		}
		return j
	}
	threads = worthwhile(threads, n*p.work/2)
	if n < threads {
		scratch := borrowBF16(n * sourceLen)
		defer giveBackBF16(scratch)
		j := part(0, n, scratch)
		Parallel(threads, n*groups, func(i int) { p.compute(&j, i/groups, i/groups+1, i%groups, i%groups+1) })
		return
	}
	ParallelPieces(threads, n, max(1, min(cacheBF16/sourceLen, n/threads)), func(_, from, to int) {
		scratch := borrowBF16((to - from) * sourceLen)
		defer giveBackBF16(scratch)
		j := part(from, to, scratch)
		p.compute(&j, 0, to-from, 0, groups)
	})
}

// toBF16Go is the plain version of toBF16, which rounds pixels of so many channels of the block; the others become zero.
func toBF16Go(from []float32, to []BF16, channels int) {
	for i, v := range from {
		to[i] = 0
		if i%BlockChannels < channels {
			to[i] = ToBF16(v)
		}
	}
}

// toPairsBF16Go is the plain version of toPairsBF16, which rounds the values of two images and interleaves them. The second
// one may be nil, which stands for zeros.
func toPairsBF16Go(from, and []float32, to []BF16) {
	for i, v := range from {
		to[2*i], to[2*i+1] = ToBF16(v), 0
		if and != nil {
			to[2*i+1] = ToBF16(and[i])
		}
	}
}

// runBF16Go is the plain version of a tile.
func (t *convTile) runBF16Go() {
	job := t.job
	const b = BlockChannels
	for block := range t.blocks {
		for pixel := range t.count {
			target := job.target[t.target+block*t.targetNext+pixel*t.targetPitch:][:b]
			at := t.source + pixel*t.sourcePitch
			var sums [b]float32
			for _, tap := range t.r.taps {
				weights := job.weightsBF16[(t.block+block)*t.weightsNext+tap.weights/4:]
				source := job.sourceBF16[at+tap.source/4:][:(tap.channels+1)/2*2]
				for ; len(source) >= 2; source = source[2:] {
					v0, v1 := source[0].Float32(), source[1].Float32()
					for i := range sums {
						sums[i] += v1 * weights[2*i+1].Float32()
						sums[i] += v0 * weights[2*i].Float32()
					}
					weights = weights[2*b:]
				}
			}
			for c, s := range sums {
				if job.bias != nil {
					s += job.bias[(t.block+block)*b+c]
				}
				if job.add {
					s += target[c]
				}
				if job.relu && s < 0 {
					s = 0
				}
				target[c] = s
			}
		}
	}
}

// BackwardWeights is [Conv.BackwardWeights].
func (c *ConvBF16) BackwardWeights(threads, n int, x, dy, dw []float32) {
	checkLen("BackwardWeights", "x", len(x), c.InputLen(n))
	checkLen("BackwardWeights", "dy", len(dy), c.OutputLen(n))
	checkLen("BackwardWeights", "dw", len(dw), c.conv.weightLen)
	size := c.conv.weightLen
	dw = dw[:size]
	clear(dw)
	if n == 0 {
		return
	}
	imagePairs := (n + 1) / 2
	groups := c.conv.convGroups(imagePairs)
	scratch := borrow[float32]((groups - 1) * size)
	defer giveBack(scratch)
	clear(scratch)
	part := func(group int) []float32 {
		if group == 0 {
			return dw
		}
		return scratch[(group-1)*size:][:size]
	}
	threads = worthwhile(threads, n*c.conv.work()/2)
	// Where there are fewer groups than threads, these share the blocks of the output too.
	shares := min(c.conv.outBlocks, (threads+groups-1)/groups)
	ParallelPieces(threads, groups*shares, 1, func(_, from, to int) {
		for i := from; i < to; i++ {
			group, share := i/shares, i%shares
			c.weightsOf(x, dy, part(group), n, group*imagePairs/groups, (group+1)*imagePairs/groups,
				share*c.conv.outBlocks/shares, (share+1)*c.conv.outBlocks/shares)
		}
	})
	if groups > 1 {
		ParallelRanges(threads, c.conv.inBlocks*c.conv.outBlocks, func(_, from, to int) {
			from, to = from*c.conv.filterSize, to*c.conv.filterSize
			for group := 1; group < groups; group++ {
				Add(part(group)[from:to], dw[from:to])
			}
		})
	}
}

// weightsOf adds to dw the gradient for output blocks [b0, b1) over the pairs of images [p0, p1) of n images.
func (c *ConvBF16) weightsOf(x, dy, dw []float32, n, p0, p1, b0, b1 int) {
	const b = BlockChannels
	in, out := c.conv.inBlocks, c.conv.outBlocks
	inLen, outLen := c.conv.shape.H*c.conv.shape.W*b, c.conv.oh*c.conv.ow*b
	pairLen := 2 * (in*inLen + (b1-b0)*outLen)
	step := max(1, cacheBF16/pairLen)
	scratch := borrowBF16(min(step, p1-p0) * pairLen)
	defer giveBackBF16(scratch)
	w := convWeightsBF16Tile{
		xPitch: c.conv.shape.Stride * 2 * b, xRow: c.conv.shape.Stride * c.conv.shape.W * 2 * b, xImage: 2 * in * inLen,
		dyRow: c.conv.ow * 2 * b, dyImage: 2 * (b1 - b0) * outLen,
	}
	for ; p0 < p1; p0 += step {
		w.images = min(step, p1-p0)
		rx, rdy := scratch[:w.images*w.xImage], scratch[w.images*w.xImage:]
		for i := range w.images {
			first := 2 * (p0 + i)
			// pair rounds a part of both images of the pair.
			pair := func(from []float32, imageLen, at, length int, to []BF16) {
				var and []float32
				if first+1 < n {
					and = from[(first+1)*imageLen+at:][:length]
				}
				toPairsBF16(from[first*imageLen+at:][:length], and, to[:2*length])
			}
			pair(x, in*inLen, 0, in*inLen, rx[i*w.xImage:])
			pair(dy, out*outLen, b0*outLen, (b1-b0)*outLen, rdy[i*w.dyImage:])
		}
		for outBlock := b0; outBlock < b1; outBlock++ {
			for inBlock := range in {
				w.channels = min(b, c.conv.shape.In-inBlock*b)
				sums := dw[(outBlock*in+inBlock)*c.conv.filterSize:][:c.conv.filterSize]
				for tap, win := range c.conv.weightTaps {
					if win.ny <= 0 || win.nx <= 0 {
						continue
					}
					w.x = rx[2*(inBlock*inLen+(win.iy*c.conv.shape.W+win.ix)*b):]
					w.dy = rdy[2*((outBlock-b0)*outLen+(win.oy*c.conv.ow+win.ox)*b):]
					w.dw = sums[tap*b*b:][:b*b]
					w.rows, w.cols = win.ny, win.nx
					w.run()
				}
			}
		}
	}
}

// convWeightsBF16Tile is convWeightsTile on pairs of images.
type convWeightsBF16Tile struct {
	x, dy                []BF16 // pixels of BlockChannels pairs
	dw                   []float32
	images, rows, cols   int // images are pairs of them
	xPitch, xRow, xImage int
	dyRow, dyImage       int
	channels             int // of the input block
}

// runGo is the plain version.
func (w *convWeightsBF16Tile) runGo() {
	const b = BlockChannels
	for image := range w.images {
		for row := range w.rows {
			for col := range w.cols {
				x := w.x[image*w.xImage+row*w.xRow+col*w.xPitch:][:2*b]
				dy := w.dy[image*w.dyImage+row*w.dyRow+col*2*b:][:2*b]
				for channel := range w.channels {
					v0, v1 := x[2*channel].Float32(), x[2*channel+1].Float32()
					sums := w.dw[channel*b:][:b]
					for o := range sums {
						sums[o] += v1 * dy[2*o+1].Float32()
						sums[o] += v0 * dy[2*o].Float32()
					}
				}
			}
		}
	}
}

// borrowBF16 lends a slice of n values of any content, to be given back by giveBackBF16.
func borrowBF16(n int) []BF16 {
	words := borrow[float32]((n + 1) / 2)
	return bf16s(words[:cap(words)])[:n]
}

// giveBackBF16 takes back what borrowBF16 lent, from its first value on.
func giveBackBF16(s []BF16) {
	giveBack(unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(s))), cap(s)/2))
}

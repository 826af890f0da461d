package kernel

import "fmt"

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
func (c *Conv) PackWeights(threads int, weights, packed []float32) {
	c.checkWeights("PackWeights", weights, packed)
	clear(packed[:c.weightLen])
	c.eachFilter(threads, func(plain, out, in int) {
		at := c.packedAt(c.inBlocks, out, in)
		for tap, v := range weights[plain:][:c.taps()] {
			packed[at+tap*BlockChannels*BlockChannels] = v
		}
	})
}

// PackTransposed lays out weights, [Out, In, Kernel, Kernel], for BackwardData: [Blocks(In), Blocks(Out), Kernel,
// Kernel, BlockChannels of Out, BlockChannels of In], zeros where a block has no channel.
func (c *Conv) PackTransposed(threads int, weights, packed []float32) {
	c.checkWeights("PackTransposed", weights, packed)
	clear(packed[:c.weightLen])
	c.eachFilter(threads, func(plain, out, in int) {
		at := c.packedAt(c.outBlocks, in, out)
		for tap, v := range weights[plain:][:c.taps()] {
			packed[at+tap*BlockChannels*BlockChannels] = v
		}
	})
}

// UnpackGradient brings the gradient of BackwardWeights, which lies as PackWeights lays out weights, into the layout of
// the weights.
func (c *Conv) UnpackGradient(threads int, gradient, weights []float32) {
	c.checkWeights("UnpackGradient", weights, gradient)
	c.eachFilter(threads, func(plain, out, in int) {
		at := c.packedAt(c.inBlocks, out, in)
		for tap := range c.taps() {
			weights[plain+tap] = gradient[at+tap*BlockChannels*BlockChannels]
		}
	})
}

// taps returns the number of taps of the window.
func (c *Conv) taps() int { return c.shape.Kernel * c.shape.Kernel }

// packWork is about how many multiply-adds take as long as laying out a weight.
const packWork = 64

// eachFilter calls fn, on up to so many threads, for every pair of channels with the place of its first weight in the plain
// layout.
func (c *Conv) eachFilter(threads int, fn func(plain, out, in int)) {
	size := c.shape.In * c.taps()
	Parallel(worthwhile(threads, packWork*c.shape.Out*size), c.shape.Out, func(out int) {
		for in := range c.shape.In {
			fn(out*size+in*c.taps(), out, in)
		}
	})
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

func checkLen(function, name string, got, want int) {
	if got < want {
		panic(fmt.Sprintf("kernel: %s: %d values for %s, want %d", function, got, name, want))
	}
}

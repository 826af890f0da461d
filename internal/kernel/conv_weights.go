package kernel

// convWindow is what one tap of the window sees: the outputs of rows [oy, oy+ny) and columns [ox, ox+nx) see the inputs
// from (iy, ix) on, a stride apart.
type convWindow struct {
	oy, ox, ny, nx, iy, ix int
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
	scratch := borrow[float32]((groups - 1) * c.weightLen)
	defer giveBack(scratch)
	part := func(group int) []float32 {
		if group == 0 {
			return dw
		}
		return scratch[(group-1)*c.weightLen:][:c.weightLen]
	}
	threads = worthwhile(threads, n*c.work())
	ParallelPieces(threads, groups*pairs, 1, func(_, from, to int) {
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

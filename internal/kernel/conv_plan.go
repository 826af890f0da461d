package kernel

import "math/bits"

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

// convJob is one call of a plan.
type convJob struct {
	source, weights, target, bias []float32
	add, relu                     bool

	// What source and weights are rounded to, where the products are of bfloat16.
	sourceBF16, weightsBF16 []BF16
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
		ParallelPieces(threads, n, max(1, n/(threads*piecesPerThread)), func(_, from, to int) { p.compute(&job, from, to, 0, groups) })
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

package kernel

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
	if t.job.sourceBF16 != nil {
		t.runBF16()
		return
	}
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

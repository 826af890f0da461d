package kernel

// The points of the transforms and what follows of them: see [Winograd]. gen/winograd.go has the same.
const (
	winogradA, winogradB = 0.75, 1.5
	winogradAA           = winogradA * winogradA
	winogradBB           = winogradB * winogradB
	winogradN0           = 1 / (winogradAA * winogradBB)
	winogradNA           = 1 / (2 * winogradAA * (winogradAA - winogradBB))
	winogradNB           = 1 / (2 * winogradBB * (winogradBB - winogradAA))
)

const (
	winogradTile   = 4                           // side of a tile of the output
	winogradSide   = 6                           // side of what it sees of the input
	winogradPlanes = winogradSide * winogradSide // values that a transformed tile has, a plane for each
)

// winogradKind names a transform of squares of pixels or weights to 36 planes, or back.
type winogradKind int

const (
	winogradInput          winogradKind = iota // B^T d B, of 6x6 pixels
	winogradOutput                             // A^T m A, to 4x4 pixels
	winogradGradient                           // A y A^T, of 4x4 pixels
	winogradFilter                             // G g G^T, of 3x3 weights
	winogradFilterGradient                     // G^T s G, to 3x3 weights
)

// winogradTransform transforms count squares, one after the other; each value is a block of channels. It counts values,
// not bytes.
type winogradTransform struct {
	source     []float32
	sourceAt   int
	target     []float32
	targetAt   int
	row        int // from row to row of a square; its columns are a block apart
	plane      int // from plane to plane
	sourceNext int // to the next square
	targetNext int
	count      int

	// Of winogradOutput:
	bias      []float32 // one block, added
	add, relu bool      // as in ConvEpilogue
}

// runGo is the plain version.
func (t *winogradTransform) runGo(kind winogradKind) {
	const b = BlockChannels
	var square, planes [winogradSide][winogradSide]float32
	for i := range t.count {
		source, target := t.source[t.sourceAt+i*t.sourceNext:], t.target[t.targetAt+i*t.targetNext:]
		for c := range b {
			if kind == winogradOutput || kind == winogradFilterGradient {
				for y := range winogradSide {
					for x := range winogradSide {
						planes[y][x] = source[(y*winogradSide+x)*t.plane+c]
					}
				}
				n := winogradTile
				if kind == winogradFilterGradient {
					n = 3
				}
				gather := gatherLine[kind]
				for x := range winogradSide {
					var column [winogradSide]float32
					for y := range winogradSide {
						column[y] = planes[y][x]
					}
					column = gather(column)
					for y := range n {
						square[y][x] = column[y]
					}
				}
				for y := range n {
					line := gather(square[y])
					for x := range n {
						at, v := y*t.row+x*b+c, line[x]
						if kind == winogradOutput {
							v += t.bias[c]
							if t.add {
								v += target[at]
							}
							if t.relu && v < 0 {
								v = 0
							}
						}
						target[at] = v
					}
				}
				continue
			}
			n, spread := spreadSide[kind], spreadLine[kind]
			for x := range n {
				var column [winogradSide]float32
				for y := range n {
					column[y] = source[y*t.row+x*b+c]
				}
				column = spread(column)
				for y := range winogradSide {
					square[y][x] = column[y]
				}
			}
			for y := range winogradSide {
				for x, v := range spread(square[y]) {
					target[(y*winogradSide+x)*t.plane+c] = v
				}
			}
		}
	}
}

// spreadSide is the side of the squares of the transforms to planes.
var spreadSide = [...]int{winogradInput: winogradSide, winogradGradient: winogradTile, winogradFilter: 3}

// spreadLine applies the matrix of a transform to planes to a line of a square.
var spreadLine = [...]func(x [winogradSide]float32) [winogradSide]float32{
	winogradInput: func(x [winogradSide]float32) [winogradSide]float32 {
		const product, sum = winogradAA * winogradBB, winogradAA + winogradBB
		u, w := x[4]-winogradBB*x[2], winogradA*(x[3]-winogradBB*x[1])
		v, z := x[4]-winogradAA*x[2], winogradB*(x[3]-winogradAA*x[1])
		return [winogradSide]float32{x[4] - sum*x[2] + product*x[0], u + w, u - w, v + z, v - z, x[5] - sum*x[3] + product*x[1]}
	},
	winogradGradient: func(x [winogradSide]float32) [winogradSide]float32 {
		u, w := x[0]+winogradAA*x[2], winogradA*x[1]+winogradA*winogradAA*x[3]
		v, z := x[0]+winogradBB*x[2], winogradB*x[1]+winogradB*winogradBB*x[3]
		return [winogradSide]float32{x[0], u + w, u - w, v + z, v - z, x[3]}
	},
	winogradFilter: func(x [winogradSide]float32) [winogradSide]float32 {
		u, w := winogradNA*x[0]+winogradAA*winogradNA*x[2], winogradA*winogradNA*x[1]
		v, z := winogradNB*x[0]+winogradBB*winogradNB*x[2], winogradB*winogradNB*x[1]
		return [winogradSide]float32{winogradN0 * x[0], u + w, u - w, v + z, v - z, x[2]}
	},
}

// gatherLine applies the matrix of a transform from planes to a line of them.
var gatherLine = [...]func(x [winogradSide]float32) [winogradSide]float32{
	winogradOutput: func(x [winogradSide]float32) [winogradSide]float32 {
		s, d, u, e := x[1]+x[2], x[1]-x[2], x[3]+x[4], x[3]-x[4]
		return [winogradSide]float32{
			x[0] + s + u, winogradA*d + winogradB*e, winogradAA*s + winogradBB*u, x[5] + winogradA*winogradAA*d + winogradB*winogradBB*e,
		}
	},
	winogradFilterGradient: func(x [winogradSide]float32) [winogradSide]float32 {
		s, d, u, e := x[1]+x[2], x[1]-x[2], x[3]+x[4], x[3]-x[4]
		return [winogradSide]float32{
			winogradN0*x[0] + winogradNA*s + winogradNB*u, winogradA*winogradNA*d + winogradB*winogradNB*e,
			winogradAA*winogradNA*s + winogradBB*winogradNB*u + x[5],
		}
	},
}

// winogradProduct is a tile of a product of each plane: C = A B, or, outer, C += A^T B. It counts values, not bytes.
type winogradProduct struct {
	a              []float32
	aAt            int
	aPitch, aPlane int // from row to row of A (outer: from k to k), from plane to plane
	b              []float32
	bAt            int
	bPitch, bPlane int // from k to k, from plane to plane
	bNext          int // to the second block
	c              []float32
	cAt            int
	cPitch, cPlane int
	cNext          int
	k              int // at least 1
	rows, blocks   int
}

// runGo is the plain version.
func (p *winogradProduct) runGo(outer bool) {
	const b, half = BlockChannels, BlockChannels / 2
	rowStep, kStep := p.aPitch, 1
	if outer {
		rowStep, kStep = 1, p.aPitch
	}
	for plane := range winogradPlanes {
		for block := range p.blocks {
			for row := range p.rows {
				for h := 0; h < b; h += half {
					out := p.c[p.cAt+plane*p.cPlane+block*p.cNext+row*p.cPitch+h:][:half]
					var s0, s1, s2, s3, s4, s5, s6, s7 float32
					if outer {
						s0, s1, s2, s3, s4, s5, s6, s7 = out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7]
					}
					left := p.a[p.aAt+plane*p.aPlane+row*rowStep:]
					right := p.b[p.bAt+plane*p.bPlane+block*p.bNext+h:]
					for k := range p.k {
						v, w := left[k*kStep], right[k*p.bPitch:][:half]
						s0 += v * w[0]
						s1 += v * w[1]
						s2 += v * w[2]
						s3 += v * w[3]
						s4 += v * w[4]
						s5 += v * w[5]
						s6 += v * w[6]
						s7 += v * w[7]
					}
					out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = s0, s1, s2, s3, s4, s5, s6, s7
				}
			}
		}
	}
}

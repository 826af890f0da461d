package atlas

import "math"

// NearDuplicate is the difference up to which two pictures count as near-duplicates. docs/duplicates.md has the
// measurements that it comes from: known copies of pictures lie below it, neighbours of other content above.
const NearDuplicate = 0.08

// mirrorPenalty multiplies the difference of mirror images. Among pairs that look alike by chance, those that fit mirrored
// reach lower differences than copies that were mirrored: both ways are tried, and many things have symmetric outlines.
const mirrorPenalty = 2

// Alignment says how well a picture fits on another one, and how it was laid for that.
type Alignment struct {
	// Difference is 0 for pictures whose detail is the same up to contrast, and 1 for such that have nothing in common: 1
	// minus the correlation of their detail where they overlap; twice that, but at most 1, for mirror images. See
	// [NearDuplicate].
	Difference float64
	// ShiftX and ShiftY say how far the second picture's middle lies from the first one's, in shares of the side.
	ShiftX, ShiftY float64
	// ScaleX and ScaleY are the sizes at which the second picture shows what the first one shows at 1.
	ScaleX, ScaleY float64
	// Mirrored says that left and right are exchanged.
	Mirrored bool
}

const (
	// flat is the variance, in squared levels of 255, below which detail is noise. It is added to variances, so that
	// the noise of two flat pictures does not make them differ.
	flat = 4
	// flatColours is the root of the mean squared difference of colours, in levels, from which on two flat pictures
	// have nothing in common.
	flatColours = 32
	// promising is the agreement in the rough comparison from which on a pose is refined: see docs/duplicates.md.
	promising = 0.55
	// minOverlap is the least number of pixels, along each side, in which two pictures must overlap.
	minOverlap = 20
	// minScale and maxScale bound the scales.
	minScale, maxScale = 0.75, 1.33
)

// Align lays b, or its mirror image, over a where their detail agrees best, and measures how much they differ there.
//
// The measure is the correlation of luminance between two blurs (see [Pixels]), which light, contrast and colour leave as
// it is; it is what image alignment by enhanced correlation maximises (Evangelidis & Psarakis 2008, IEEE TPAMI 30:10),
// without their derivatives: the best shifts at three scales on 16x16 pixels are starts, from which shifts and scales of
// both directions go on in halving steps on 32x32, by at most an eighth of the side and a third of the size. Pictures that
// have nothing to do with each other are given up after the first part, so that their Difference is a rough one.
func Align(a, b *Pixels) Alignment {
	straight := align(a, b)
	if straight.Difference <= NearDuplicate/2 {
		return straight
	}
	mirrored := align(a, b.mirrored())
	mirrored.Difference = min(mirrorPenalty*mirrored.Difference, 1)
	if mirrored.Difference < straight.Difference {
		mirrored.Mirrored = true
		return mirrored
	}
	return straight
}

// pose lays a picture over another one: the first picture's pixel at x shows what the second one has at
// middle + (x-middle)*scale + shift, along both sides.
type pose struct{ shiftX, shiftY, scaleX, scaleY float32 }

// fit is a pose and how well the pictures agree in it, -1 to 1.
type fit struct {
	pose
	agreement float32
}

func align(a, b *Pixels) Alignment {
	credit := flat * colourAgreement(a, b)
	best := fit{agreement: -1}
	for _, start := range roughFits(a, b, credit) {
		if start.agreement >= promising {
			start = refined(&a.detail, &b.detail, start.pose, credit)
		}
		if start.agreement > best.agreement {
			best = start
		}
	}
	return Alignment{
		Difference: min(max(0, 1-float64(best.agreement)), 1),
		ShiftX:     -float64(best.shiftX/best.scaleX) / pixelSide, ShiftY: -float64(best.shiftY/best.scaleY) / pixelSide,
		ScaleX: float64(best.scaleX), ScaleY: float64(best.scaleY),
	}
}

// colourAgreement is 1 for pictures of equal mean colours and 0 for such whose colours are far apart.
func colourAgreement(a, b *Pixels) float32 {
	sum := 0
	for i := range a.colours {
		d := int(a.colours[i]) - int(b.colours[i])
		sum += d * d
	}
	return float32(max(0, 1-math.Sqrt(float64(sum)/float64(len(a.colours)))/flatColours))
}

// moments are sums over the pixels in which two pictures overlap.
type moments struct{ n, a, b, aa, bb, ab float32 }

// add takes in a row of both.
func (m *moments) add(a, b []float32) {
	b = b[:len(a)]
	for i, u := range a {
		v := b[i]
		m.a += u
		m.b += v
		m.aa += u * u
		m.bb += v * v
		m.ab += u * v
	}
	m.n += float32(len(a))
}

// agreement is the correlation, flat pictures being credited with what their colours agree.
func (m *moments) agreement(credit float32) float32 {
	meanA, meanB := m.a/m.n, m.b/m.n
	varA, varB := max(0, m.aa/m.n-meanA*meanA), max(0, m.bb/m.n-meanB*meanB)
	return (m.ab/m.n - meanA*meanB + credit) / float32(math.Sqrt(float64((varA+flat)*(varB+flat))))
}

// roughFits returns the two best of 25 shifts at three scales.
func roughFits(a, b *Pixels, credit float32) (best [2]fit) {
	const steps = 2 // of two pixels each, in both directions
	best[0].agreement, best[1].agreement = -2, -2
	var scaled [coarseSide * coarseSide]float32
	for _, scale := range [...]float32{1, 0.88, 1.14} {
		from, to := 0, coarseSide
		if scale == 1 {
			scaled = b.coarse
		} else {
			x := newAxis(coarseSide, 0, scale)
			from, to = x.from, x.to
			for i := from; i < to; i++ {
				x.row(b.coarse[:], &x, i, scaled[i*coarseSide:])
			}
		}
		for dy := -steps; dy <= steps; dy++ {
			for dx := -steps; dx <= steps; dx++ {
				// a's pixel at x meets the scaled one at x+dx.
				fromX, toX := max(0, from-dx), min(coarseSide, to-dx)
				var m moments
				for y := max(0, from-dy); y < min(coarseSide, to-dy); y++ {
					m.add(a.coarse[y*coarseSide+fromX:y*coarseSide+toX], scaled[(y+dy)*coarseSide+dx+fromX:])
				}
				f := fit{pose{2 * float32(dx) * scale, 2 * float32(dy) * scale, scale, scale}, m.agreement(credit)}
				switch {
				case f.agreement > best[0].agreement:
					best[0], best[1] = f, best[0]
				case f.agreement > best[1].agreement:
					best[1] = f
				}
			}
		}
	}
	return best
}

// refined improves a pose: it tries each of its four numbers a step up and down, and halves the steps where nothing is
// better.
func refined(a, b *plane, p pose, credit float32) fit {
	best := fit{p, agreementIn(a, b, p, credit)}
	for shift, scale := float32(1), float32(0.06); shift > 0.1; {
		improved := false
		for i := range 8 {
			p := best.pose
			step := float32(1 - 2*(i&1))
			switch i / 2 {
			case 0:
				p.shiftX += step * shift
			case 1:
				p.shiftY += step * shift
			case 2:
				p.scaleX += step * scale
			case 3:
				p.scaleY += step * scale
			}
			// A gain that rounding could make would let the loop go round in circles.
			if r := agreementIn(a, b, p, credit); r > best.agreement+1e-6 {
				best, improved = fit{p, r}, true
			}
		}
		if !improved {
			shift, scale = shift/2, scale/2
		}
	}
	return best
}

// agreementIn is the agreement of b laid over a; -1 where the pose is out of bounds.
func agreementIn(a, b *plane, p pose, credit float32) float32 {
	if min(p.scaleX, p.scaleY) < minScale || max(p.scaleX, p.scaleY) > maxScale {
		return -1
	}
	x, y := newAxis(pixelSide, p.shiftX, p.scaleX), newAxis(pixelSide, p.shiftY, p.scaleY)
	if x.to-x.from < minOverlap || y.to-y.from < minOverlap {
		return -1
	}
	var m moments
	var row [pixelSide]float32
	for i := y.from; i < y.to; i++ {
		y.row(b[:], &x, i, row[:])
		m.add(a[i*pixelSide+x.from:i*pixelSide+x.to], row[x.from:])
	}
	return m.agreement(credit)
}

// axis says for each pixel along one side of the first picture where the second one lies: between its pixels at and at+1,
// a part of the way to the latter. Outside from to to it does not lie.
type axis struct {
	side     int
	at       [pixelSide]int
	part     [pixelSide]float32
	from, to int
}

func newAxis(side int, shift, scale float32) (a axis) {
	a.side = side
	middle := float32(side-1) / 2
	a.from = side
	for i := range side {
		v := middle + (float32(i)-middle)*scale + shift
		if v < 0 || v > float32(side-1) {
			continue
		}
		k := min(int(v), side-2)
		a.at[i], a.part[i] = k, v-float32(k)
		a.from, a.to = min(a.from, i), i+1
	}
	return a
}

// row writes row i of the first picture's pixels as the second picture, b, has them, y being this axis.
func (y *axis) row(b []float32, x *axis, i int, out []float32) {
	upper := b[y.at[i]*y.side:][:x.side]
	lower := b[(y.at[i]+1)*y.side:][:x.side]
	part := y.part[i]
	for j := x.from; j < x.to; j++ {
		k, f := x.at[j], x.part[j]
		u := upper[k] + f*(upper[k+1]-upper[k])
		l := lower[k] + f*(lower[k+1]-lower[k])
		out[j] = u + part*(l-u)
	}
}

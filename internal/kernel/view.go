package kernel

import "fmt"

// Resampler cuts a window out of square images of three planes of bytes, resizes it to a square of a given side and
// changes its colours: what training makes views of images by. Use it in this order: [Resampler.Columns] and [Resampler.Rows]
// set the window, [Resampler.Stretch] reads an image, [Resampler.Paint] writes the result. It owns scratch memory and is
// used by one goroutine at a time.
//
// Samples are bilinear, mirrored at the borders, the border pixel counted twice: first between two columns,
// a + (b-a)*weight, then between two rows. AVX-512 and AVX2 give the same bits; plain Go may differ in the last ones.
type Resampler struct {
	source       int // the side of images
	size, groups int // the side of results, and how many times 16 columns that is
	columns      []columnGroup
	rows         []rowTap
	first, count int       // the rows of the source that the window shows
	share        []float32 // [count]: how often each of them counts in the result
	stretched    []float32 // [3, source, 16*groups]: row i is row first+i of the source, resized along x
	wide         [18 * 8]float32
	line         []float32 // [3, size], of plain Go
}

// columnGroup says where 16 neighbouring columns of the result take their values from. The assembly knows its layout.
type columnGroup struct {
	// base is the first of 16 neighbouring pixels of the source, for columns 0 to 7 and 8 to 15, which hold all that
	// those columns need. It is 0 where the source has fewer than 16.
	base [2]int64
	// taps are places within these pixels: for each half the left ones of its 8 columns, then the right ones. Columns
	// beyond the last have 0x80, which stands for the value 0.
	taps   [2][16]uint8
	weight [16]float32 // of the right one
}

const noTap = 0x80

// rowTap says from which rows of stretched a row of the result comes: their offsets in bytes, and the weight of the
// lower one. The assembly knows its layout.
type rowTap struct {
	upper, lower int64
	weight       float32
	_            float32
}

// ColorMap maps the colour (r, g, b) of a pixel: channel c becomes the sum of Matrix[c][k] times channel k, plus
// Shift[c], held to Low[c] and High[c].
type ColorMap struct {
	Matrix           [3][3]float32
	Shift, Low, High [3]float32
}

// shortestLine is the least side of an image that the assembly works on: it reads 16 bytes at a time.
const shortestLine = 16

// MaxShrink is the most pixels of a window for each pixel of the result, along a side: samples are taken of two
// neighbouring pixels, so that more would leave pixels out.
const MaxShrink = 2

// NewResampler returns a resampler from images [3, source, source] to [3, size, size]. Its window is the whole image or,
// where that is more than [MaxShrink] allows, a corner of it.
func NewResampler(source, size int) *Resampler {
	if source < 1 || source > 1<<14 || size < 1 || size > 1<<14 {
		panic(fmt.Sprintf("kernel: Resampler from size %d to %d", source, size))
	}
	groups := (size + 15) / 16
	r := &Resampler{
		source: source, size: size, groups: groups, columns: make([]columnGroup, groups), rows: make([]rowTap, size),
		share: make([]float32, source), stretched: make([]float32, 3*source*16*groups), line: make([]float32, 3*size),
	}
	whole := r.longest()
	r.Columns(0, whole, false)
	r.Rows(0, whole)
	return r
}

// longest is the most pixels of a window's side.
func (r *Resampler) longest() float64 { return float64(min(r.source, MaxShrink*r.size)) }

// sample returns the two neighbours of a position on a line, and the weight of the second.
func sample(at float64, last int) (a, b int, weight float32) {
	a = int(at)
	if at < float64(a) { // int rounds towards 0
		a--
	}
	b, weight = a+1, float32(at-float64(a))
	if uint(a) >= uint(last) { // a below 0, or b above last
		a, b = mirror(a, last), mirror(b, last)
	}
	return a, b, weight
}

// mirror reflects a position at 0 and last, the border pixel counted twice: -1 -> 0, last+1 -> last.
func mirror(i, last int) int {
	for i < 0 || i > last {
		if i < 0 {
			i = -1 - i
		} else {
			i = 2*last + 1 - i
		}
	}
	return i
}

func (r *Resampler) checkWindow(start, length float64) {
	if side := float64(r.source); !(length > 0 && length <= r.longest() && start >= -side && start <= side) {
		panic(fmt.Sprintf("kernel: window of %v pixels from %v on images of %d, to %d", length, start, r.source, r.size))
	}
}

// Columns sets the horizontal extent of the window in pixels: length is above 0 and at most the image's side and
// [MaxShrink] times the result's, start at most a side away from the image. With flip the result is mirrored left and right.
func (r *Resampler) Columns(start, length float64, flip bool) {
	r.checkWindow(start, length)
	scale := length / float64(r.size)
	for half := range 2 * r.groups {
		group := &r.columns[half/2]
		var left, right [8]int
		count := min(8, r.size-8*half)
		lowest := r.source
		for k := range count {
			i := 8*half + k
			if flip {
				i = r.size - 1 - i
			}
			a, b, w := sample(start+(float64(i)+0.5)*scale-0.5, r.source-1)
			left[k], right[k] = a, b
			group.weight[half%2*8+k] = w
			lowest = min(lowest, a, b)
		}
		base := max(0, min(lowest, r.source-shortestLine))
		group.base[half%2] = int64(base)
		taps := &group.taps[half%2]
		for k := range 8 {
			taps[k], taps[8+k] = noTap, noTap
			if k < count {
				// Rounding may put a sample that falls onto the 16th pixel between that and the next, with weight 0.
				taps[k], taps[8+k] = uint8(min(left[k]-base, shortestLine-1)), uint8(min(right[k]-base, shortestLine-1))
			}
		}
	}
}

// Rows sets the vertical extent of the window, as Columns does the horizontal one.
func (r *Resampler) Rows(start, length float64) {
	r.checkWindow(start, length)
	scale := length / float64(r.size)
	low, high := r.source, 0
	for i := range r.rows {
		a, b, w := sample(start+(float64(i)+0.5)*scale-0.5, r.source-1)
		r.rows[i] = rowTap{upper: int64(a), lower: int64(b), weight: w}
		low, high = min(low, a, b), max(high, a, b)
	}
	r.first, r.count = low, high-low+1
	share := r.share[:r.count]
	clear(share)
	pitch := int64(4 * 16 * r.groups)
	for i := range r.rows {
		t := &r.rows[i]
		a, b := t.upper-int64(low), t.lower-int64(low)
		share[a] += 1 - t.weight
		share[b] += t.weight
		t.upper, t.lower = a*pitch, b*pitch
	}
}

// Stretch resizes what the window shows of an image, [3, source, source], along x, and returns the mean of each channel over
// the whole result.
func (r *Resampler) Stretch(image []uint8) (mean [3]float32) {
	checkLen("Stretch", "image", len(image), 3*r.source*r.source)
	for c := range 3 {
		lanes := r.stretch(image[(c*r.source+r.first)*r.source:][:r.count*r.source], r.stretched[c*r.source*16*r.groups:])
		for step := 8; step > 0; step /= 2 {
			for l := range step {
				lanes[l] += lanes[l+step]
			}
		}
		mean[c] = lanes[0] / float32(r.size*r.size)
	}
	return mean
}

// Paint writes the window that Stretch has read with its colours mapped: out is [3, size, size].
func (r *Resampler) Paint(colors *ColorMap, out []float32) {
	checkLen("Paint", "out", len(out), 3*r.size*r.size)
	r.paint(colors, out)
}

// stretchGo resizes rows of one plane and returns their sum over the result in 16 lanes, column i in lane i%16.
func (r *Resampler) stretchGo(plane []uint8, out []float32) (lanes [16]float32) {
	pitch := 16 * r.groups
	for half := range 2 * r.groups {
		group := &r.columns[half/2]
		taps, weights := &group.taps[half%2], (*[8]float32)(group.weight[half%2*8:])
		count := max(0, min(8, r.size-8*half))
		sums := lanes[half%2*8:][:8]
		for row, share := range r.share[:r.count] {
			from := plane[row*r.source+int(group.base[half%2]):]
			o := (*[8]float32)(out[row*pitch+8*half:])
			for k := range o[:count] {
				a, b := float32(from[taps[k]]), float32(from[taps[8+k]])
				o[k] = a + (b-a)*weights[k]
				sums[k] += share * o[k]
			}
		}
	}
	return lanes
}

// paintGo needs nothing of stretched beyond the image's columns, which stretchGo leaves as they are.
func (r *Resampler) paintGo(m *ColorMap, out []float32) {
	size, scratch := r.size, r.source*16*r.groups
	for y := range r.rows {
		t := &r.rows[y]
		for c := range 3 {
			upper := r.stretched[c*scratch+int(t.upper/4):][:size]
			lower := r.stretched[c*scratch+int(t.lower/4):][:size]
			o := r.line[c*size:][:size]
			for x := range o {
				o[x] = upper[x] + (lower[x]-upper[x])*t.weight
			}
		}
		v0, v1, v2 := r.line[:size], r.line[size:][:size], r.line[2*size:][:size]
		for c := range 3 {
			o := out[(c*size+y)*size:][:size]
			k0, k1, k2, shift, low, high := m.Matrix[c][0], m.Matrix[c][1], m.Matrix[c][2], m.Shift[c], m.Low[c], m.High[c]
			for x := range o {
				v := shift + k0*v0[x] + k1*v1[x] + k2*v2[x]
				if v < low {
					v = low
				} else if v > high {
					v = high
				}
				o[x] = v
			}
		}
	}
}

// Dropout sets values of x to zero and multiplies the others by scale. Value i goes where a hash of the key and i, 32
// evenly distributed bits, is below limit: so limit / 2^32 is the probability, and equal keys drop equal places. All
// code paths give the same bits.
func Dropout(x []float32, key uint64, limit uint32, scale float32) { dropout32(x, key, limit, scale) }

// The multipliers of "lowbias32" (Wellons 2018), a mixing function of 32 bits; here the second half of the key comes in
// between.
const mixer1, mixer2 = 0x7feb352d, 0x846ca68b

func dropoutGo(x []float32, key uint64, limit uint32, scale float32) {
	for i, v := range x {
		h := uint32(key) + uint32(i)
		h ^= h >> 16
		h *= mixer1
		h ^= uint32(key >> 32)
		h ^= h >> 15
		h *= mixer2
		h ^= h >> 16
		if h < limit {
			x[i] = 0
		} else {
			x[i] = v * scale
		}
	}
}

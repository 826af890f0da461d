package training

import (
	"fmt"
	"math"
)

// ViewOptions says how the two views of an image are made that the loss then pulls together. The zero value leaves
// images as they are, which teaches nothing; presets fill it in.
//
// A view is, in this order: a crop of random area and aspect ratio, resized to the full square (bilinear); a mirror
// image; a change of colours; normalisation; dropout.
type ViewOptions struct {
	// AnchorPlain leaves the anchor as it is; only the positive is changed. Default false: both are views.
	AnchorPlain bool `json:"anchor_plain,omitempty"`
	// CropArea is the smallest share of the image's area that a crop keeps, above 0 to 1; shares are drawn uniformly
	// from [CropArea, 1]. 0 and 1 mean no crop. Smaller crops make a harder task; below 0.1 little is left to match.
	CropArea float64 `json:"crop_area,omitempty"`
	// CropReflect lets a crop's centre lie anywhere; what hangs over the border is filled with the image's mirror
	// image. Otherwise crops lie within the image, so that pixels near the border are seen less often.
	CropReflect bool `json:"crop_reflect,omitempty"`
	// Flip is the probability of mirroring left and right, 0 to 1.
	Flip float64 `json:"flip,omitempty"`
	// Brightness, Contrast and Saturation are the largest relative changes, 0 to 1: factors are drawn uniformly from
	// [1-x, 1+x]. Contrast moves values about the view's mean luma, Saturation each pixel about its own luma.
	Brightness float64 `json:"brightness,omitempty"`
	Contrast   float64 `json:"contrast,omitempty"`
	Saturation float64 `json:"saturation,omitempty"`
	// Hue is the largest turn of the colour circle as a share of it, 0 to 0.5: about the grey axis, which keeps luma.
	Hue float64 `json:"hue,omitempty"`
	// ColorProbability is the probability that a view's brightness, contrast, saturation and hue change at all, 0 to
	// 1; 0 stands for 1.
	ColorProbability float64 `json:"color_probability,omitempty"`
	// Gray is the probability of taking away all colour, 0 to 1.
	Gray float64 `json:"gray,omitempty"`
	// Dropout is the probability, 0 to below 1, that a value of the positive's normalised input is set to zero, each
	// channel for itself; the values kept are divided by 1-Dropout.
	Dropout float64 `json:"dropout,omitempty"`
}

// validate names the first field that is out of range.
func (v ViewOptions) validate() error {
	for _, f := range []struct {
		name      string
		value     float64
		low, high float64
	}{
		{"views: crop area", v.CropArea, 0, 1},
		{"views: flip", v.Flip, 0, 1},
		{"views: brightness", v.Brightness, 0, 1},
		{"views: contrast", v.Contrast, 0, 1},
		{"views: saturation", v.Saturation, 0, 1},
		{"views: hue", v.Hue, 0, 0.5},
		{"views: color probability", v.ColorProbability, 0, 1},
		{"views: gray", v.Gray, 0, 1},
		{"views: dropout", v.Dropout, 0, 0.95},
	} {
		if !(f.value >= f.low && f.value <= f.high) { // written so that NaN fails
			return optionError(f.name, f.value, fmt.Sprintf("%v to %v", f.low, f.high))
		}
	}
	return nil
}

// changes reports whether the two views of an image can differ at all.
func (v ViewOptions) changes() bool {
	return v.CropArea > 0 && v.CropArea < 1 || v.CropReflect && v.CropArea > 0 || v.Flip > 0 || v.Brightness > 0 ||
		v.Contrast > 0 || v.Saturation > 0 || v.Hue > 0 || v.Gray > 0 || v.Dropout > 0
}

// The weights of red, green and blue in luma (ITU-R BT.601), as PyTorch's and Pillow's grey images have them.
const lumaR, lumaG, lumaB = 0.299, 0.587, 0.114

// tap is a bilinear sample along one axis: the byte offsets of two neighbours and the second one's weight.
type tap struct {
	a, b   int32
	weight float32
}

// viewer makes views of square images, [size, size, 3] uint8, as normalised input, [3, size, size] float32. It owns
// scratch memory: one viewer for each goroutine.
type viewer struct {
	options   ViewOptions
	size      int
	mean, std [3]float32

	columns, rows []tap
	stretched     [][]float32 // [size] rows of [size*3], resized along x; made when a row is first needed
	have          []int       // the view whose row stretched holds
	view          int
	planes        []float32 // [3, size, size], values 0 to 255
}

func newViewer(options ViewOptions, size int, mean, std [3]float32) *viewer {
	v := &viewer{
		options: options, size: size, mean: mean, std: std,
		columns: make([]tap, size), rows: make([]tap, size),
		stretched: make([][]float32, size), have: make([]int, size),
		planes: make([]float32, 3*size*size),
	}
	memory := make([]float32, 3*size*size)
	for y := range v.stretched {
		v.stretched[y] = memory[3*size*y : 3*size*(y+1)]
	}
	return v
}

// plain writes the normalised image itself.
func (v *viewer) plain(pix []uint8, dst []float32) {
	n := v.size * v.size
	var scale, shift [3]float32
	for c := range 3 {
		scale[c] = 1 / (255 * v.std[c])
		shift[c] = -v.mean[c] / v.std[c]
	}
	r, g, b := dst[:n], dst[n:2*n], dst[2*n:3*n]
	pix = pix[:3*n]
	for i := range r {
		r[i] = float32(pix[3*i])*scale[0] + shift[0]
		g[i] = float32(pix[3*i+1])*scale[1] + shift[1]
		b[i] = float32(pix[3*i+2])*scale[2] + shift[2]
	}
}

// random writes a view drawn with r.
func (v *viewer) random(pix []uint8, dst []float32, r rng) {
	o := &v.options
	x, y, w, h := v.crop(&r)
	flip := o.Flip > 0 && r.float() < o.Flip
	identity := w == float64(v.size) && h == float64(v.size) && x == 0 && y == 0
	if identity && !flip {
		v.load(pix)
	} else {
		axis(v.columns, x, w, v.size, 3, flip)
		axis(v.rows, y, h, v.size, 1, false)
		v.resample(pix)
	}
	v.color(dst, &r)
}

// crop draws the window, in pixels.
func (v *viewer) crop(r *rng) (x, y, w, h float64) {
	size := float64(v.size)
	o := &v.options
	if o.CropArea <= 0 || o.CropArea >= 1 && !o.CropReflect {
		return 0, 0, size, size
	}
	// As torchvision's RandomResizedCrop: up to ten draws, until one fits.
	low, high := math.Log(3.0/4), math.Log(4.0/3)
	for range 10 {
		area := r.between(o.CropArea, 1) * size * size
		ratio := math.Exp(r.between(low, high))
		w, h = math.Sqrt(area*ratio), math.Sqrt(area/ratio)
		fx, fy := r.float(), r.float()
		if w > size || h > size {
			continue
		}
		if o.CropReflect {
			return fx*size - w/2, fy*size - h/2, w, h
		}
		return fx * (size - w), fy * (size - h), w, h
	}
	return 0, 0, size, size
}

// axis fills taps with the bilinear samples of a window of the given length along one axis of size pixels that lie
// stride bytes apart, mirrored at the borders.
func axis(taps []tap, start, length float64, size, stride int, flip bool) {
	n := len(taps)
	scale := length / float64(n)
	last := size - 1
	for i := range taps {
		at := start + (float64(i)+0.5)*scale - 0.5
		base := math.Floor(at)
		a, b := mirror(int(base), last), mirror(int(base)+1, last)
		k := i
		if flip {
			k = n - 1 - i
		}
		taps[k] = tap{a: int32(a * stride), b: int32(b * stride), weight: float32(at - base)}
	}
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

// load fills planes with the image's own values.
func (v *viewer) load(pix []uint8) {
	n := v.size * v.size
	r, g, b := v.planes[:n], v.planes[n:2*n], v.planes[2*n:3*n]
	pix = pix[:3*n]
	for i := range r {
		r[i] = float32(pix[3*i])
		g[i] = float32(pix[3*i+1])
		b[i] = float32(pix[3*i+2])
	}
}

// stretch returns row y of the image resized along x, [size, 3].
func (v *viewer) stretch(pix []uint8, y int32) []float32 {
	out := v.stretched[y]
	if v.have[y] == v.view {
		return out
	}
	v.have[y] = v.view
	row := pix[3*v.size*int(y):][:3*v.size]
	for i, t := range v.columns {
		a, b := row[t.a:t.a+3:t.a+3], row[t.b:t.b+3:t.b+3]
		o := out[3*i : 3*i+3 : 3*i+3]
		a0, a1, a2 := float32(a[0]), float32(a[1]), float32(a[2])
		o[0] = a0 + (float32(b[0])-a0)*t.weight
		o[1] = a1 + (float32(b[1])-a1)*t.weight
		o[2] = a2 + (float32(b[2])-a2)*t.weight
	}
	return out
}

// resample fills planes with the window that columns and rows describe.
func (v *viewer) resample(pix []uint8) {
	v.view++
	n, size := v.size*v.size, v.size
	for y, t := range v.rows {
		upper, lower := v.stretch(pix, t.a), v.stretch(pix, t.b)
		upper, lower = upper[:3*size], lower[:3*size]
		r := v.planes[y*size:][:size]
		g := v.planes[n+y*size:][:size]
		b := v.planes[2*n+y*size:][:size]
		for x := range r {
			u, l := upper[3*x:3*x+3:3*x+3], lower[3*x:3*x+3:3*x+3]
			r[x] = u[0] + (l[0]-u[0])*t.weight
			g[x] = u[1] + (l[1]-u[1])*t.weight
			b[x] = u[2] + (l[2]-u[2])*t.weight
		}
	}
}

// affine is a change of colours, out = m*(r, g, b) + t, on values 0 to 255.
type affine struct {
	m [3][3]float64
	t [3]float64
}

func (a affine) after(first affine) affine {
	var out affine
	for i := range 3 {
		out.t[i] = a.t[i]
		for k := range 3 {
			out.t[i] += a.m[i][k] * first.t[k]
			for j := range 3 {
				out.m[i][j] += a.m[i][k] * first.m[k][j]
			}
		}
	}
	return out
}

func scaling(factor, shift float64) affine {
	return affine{m: [3][3]float64{{factor, 0, 0}, {0, factor, 0}, {0, 0, factor}}, t: [3]float64{shift, shift, shift}}
}

// saturation moves each pixel away from its luma (factor above 1) or towards it; 0 leaves grey.
func saturation(factor float64) affine {
	luma := [3]float64{lumaR, lumaG, lumaB}
	var out affine
	for i := range 3 {
		for j := range 3 {
			out.m[i][j] = (1 - factor) * luma[j]
		}
		out.m[i][i] += factor
	}
	return out
}

// hueTurn turns colours about the grey axis in the YIQ space, by share of the circle.
func hueTurn(share float64) affine {
	sin, cos := math.Sincos(2 * math.Pi * share)
	// YIQ from RGB, the turn of I and Q, RGB from YIQ, with the second matrix inverted exactly below.
	to := [3][3]float64{{lumaR, lumaG, lumaB}, {0.5959, -0.2746, -0.3213}, {0.2115, -0.5227, 0.3112}}
	turn := affine{m: [3][3]float64{{1, 0, 0}, {0, cos, -sin}, {0, sin, cos}}}
	return affine{m: yiqInverse}.after(turn).after(affine{m: to})
}

var yiqInverse = inverse3([3][3]float64{{lumaR, lumaG, lumaB}, {0.5959, -0.2746, -0.3213}, {0.2115, -0.5227, 0.3112}})

func inverse3(m [3][3]float64) [3][3]float64 {
	var out [3][3]float64
	for i := range 3 {
		for j := range 3 {
			a, b, c, d := (j+1)%3, (j+2)%3, (i+1)%3, (i+2)%3
			out[i][j] = m[a][c]*m[b][d] - m[a][d]*m[b][c]
		}
	}
	det := m[0][0]*out[0][0] + m[0][1]*out[1][0] + m[0][2]*out[2][0]
	for i := range 3 {
		for j := range 3 {
			out[i][j] /= det
		}
	}
	return out
}

// color changes the colours of planes, clamps to 0 to 255 once at the end, and writes the normalised view.
//
// All four changes are affine maps of a pixel's colour that keep grey axis and luma apart, so they commute and one
// matrix does them all; the contrast's pivot, the mean luma, is the only thing that depends on the pixels.
func (v *viewer) color(dst []float32, r *rng) {
	o := &v.options
	n := v.size * v.size
	change := scaling(1, 0)
	if o.Brightness > 0 || o.Contrast > 0 || o.Saturation > 0 || o.Hue > 0 {
		apply := o.ColorProbability == 0 || r.float() < o.ColorProbability
		// Drawn in any case, so that the stream does not depend on what is applied.
		brightness := r.between(1-o.Brightness, 1+o.Brightness)
		contrast := r.between(1-o.Contrast, 1+o.Contrast)
		sat := r.between(1-o.Saturation, 1+o.Saturation)
		hue := r.between(-o.Hue, o.Hue)
		if apply {
			if o.Hue > 0 {
				change = hueTurn(hue).after(change)
			}
			change = saturation(sat).after(change)
			change = scaling(brightness, 0).after(change)
			if o.Contrast > 0 {
				pivot := brightness * v.luma()
				change = scaling(contrast, (1-contrast)*pivot).after(change)
			}
		}
	}
	if o.Gray > 0 && r.float() < o.Gray {
		change = saturation(0).after(change)
	}

	var m [3][3]float32
	var t, scale, shift [3]float32
	for i := range 3 {
		for j := range 3 {
			m[i][j] = float32(change.m[i][j])
		}
		t[i] = float32(change.t[i])
		scale[i] = 1 / (255 * v.std[i])
		shift[i] = -v.mean[i] / v.std[i]
	}
	red, green, blue := v.planes[:n], v.planes[n:][:n], v.planes[2*n:][:n]
	for c := range 3 {
		out := dst[c*n:][:n]
		m0, m1, m2, t0, s, d := m[c][0], m[c][1], m[c][2], t[c], scale[c], shift[c]
		for i := range out {
			x := m0*red[i] + m1*green[i] + m2*blue[i] + t0
			if x < 0 {
				x = 0
			} else if x > 255 {
				x = 255
			}
			out[i] = x*s + d
		}
	}
}

// luma is the mean luma of planes. The sum runs in a fixed order.
func (v *viewer) luma() float64 {
	n := v.size * v.size
	var sum [3]float64
	for c := range 3 {
		var a, b, d, e float32
		p := v.planes[c*n:][:n]
		for len(p) >= 4 {
			a += p[0]
			b += p[1]
			d += p[2]
			e += p[3]
			p = p[4:]
		}
		for _, x := range p {
			a += x
		}
		sum[c] = float64(a) + float64(b) + float64(d) + float64(e)
	}
	return (lumaR*sum[0] + lumaG*sum[1] + lumaB*sum[2]) / float64(n)
}

// dropout zeroes values with probability p and scales the others by 1/(1-p). x may be its own source.
func dropout(x []float32, p float64, r rng) {
	keep := float32(1 / (1 - p))
	limit := uint32(p * (1 << 32))
	i := 0
	for ; i+1 < len(x); i += 2 {
		bits := r.Uint64()
		if uint32(bits) < limit {
			x[i] = 0
		} else {
			x[i] *= keep
		}
		if uint32(bits>>32) < limit {
			x[i+1] = 0
		} else {
			x[i+1] *= keep
		}
	}
	if i < len(x) {
		if uint32(r.Uint64()) < limit {
			x[i] = 0
		} else {
			x[i] *= keep
		}
	}
}

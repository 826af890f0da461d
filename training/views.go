package training

import (
	"fmt"
	"math"

	"imgsearch/internal/kernel"
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
	// from [CropArea, CropAreaMost]. 0 and 1 mean no crop. Smaller crops make a harder task; below 0.1 little is left to match.
	CropArea float64 `json:"crop_area,omitempty"`
	// CropAreaMost is the largest share of the image's area that a crop keeps, CropArea to 1; 0 stands for 1. Smaller ones
	// show parts only.
	CropAreaMost float64 `json:"crop_area_most,omitempty"`
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
		{"views: crop area most", v.CropAreaMost, 0, 1},
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
	if v.CropAreaMost != 0 && v.CropAreaMost < v.CropArea {
		return optionError("views: crop area most", v.CropAreaMost, fmt.Sprintf("%v, the crop area, to 1", v.CropArea))
	}
	return nil
}

// widest is the largest ratio of the sides of a crop.
const widest = 4.0 / 3

// largestCrop is the largest share of the area that a crop keeps.
func (v ViewOptions) largestCrop() float64 {
	if v.CropAreaMost == 0 {
		return 1
	}
	return v.CropAreaMost
}

// changes reports whether the two views of an image can differ at all.
func (v ViewOptions) changes() bool {
	return v.CropArea > 0 && v.CropArea < 1 || v.CropReflect && v.CropArea > 0 || v.Flip > 0 || v.Brightness > 0 ||
		v.Contrast > 0 || v.Saturation > 0 || v.Hue > 0 || v.Gray > 0 || v.Dropout > 0
}

// The weights of red, green and blue in luma (ITU-R BT.601), as PyTorch's and Pillow's grey images have them.
const lumaR, lumaG, lumaB = 0.299, 0.587, 0.114

// viewer makes views of square images, [3, size, size] uint8, as normalised input, [3, side, side] float32. It owns
// scratch memory: one viewer for each goroutine.
type viewer struct {
	options   ViewOptions
	size      int
	mean, std [3]float32
	resampler *kernel.Resampler
	colors    kernel.ColorMap
}

// newViewer returns a viewer whose views are as large as the images.
func newViewer(options ViewOptions, size int, mean, std [3]float32) *viewer {
	return newViewerTo(options, size, size, mean, std)
}

// newViewerTo returns a viewer whose views have the given side. Windows must not have more than [kernel.MaxShrink] times as
// many pixels along a side.
func newViewerTo(options ViewOptions, size, side int, mean, std [3]float32) *viewer {
	return &viewer{options: options, size: size, mean: mean, std: std, resampler: kernel.NewResampler(size, side)}
}

// plain writes the normalised image itself.
func (v *viewer) plain(pix []uint8, dst []float32) {
	size := float64(v.size)
	v.resampler.Columns(0, size, false)
	v.resampler.Rows(0, size)
	v.resampler.Stretch(pix)
	v.resampler.Paint(v.normalised(&unchanged), dst)
}

// random writes a view drawn with r.
func (v *viewer) random(pix []uint8, dst []float32, r rng) {
	x, y, w, h := v.crop(&r)
	flip := v.options.Flip > 0 && r.float() < v.options.Flip
	v.resampler.Columns(x, w, flip)
	v.resampler.Rows(y, h)
	mean := v.resampler.Stretch(pix)
	change := v.options.color(mean, &r)
	v.resampler.Paint(v.normalised(&change), dst)
}

// crop draws the window, in pixels.
func (v *viewer) crop(r *rng) (x, y, w, h float64) {
	size := float64(v.size)
	o := &v.options
	if o.CropArea <= 0 || o.CropArea >= 1 && !o.CropReflect {
		return 0, 0, size, size
	}
	// As torchvision's RandomResizedCrop: up to ten draws, until one fits.
	low, high := math.Log(3.0/4), math.Log(widest)
	for range 10 {
		area := r.between(o.CropArea, o.largestCrop()) * size * size
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

// affine is a change of colours, out = m*(r, g, b) + t, on values 0 to 255.
type affine struct {
	m [3][3]float64
	t float64 // the same for all channels
}

var unchanged = affine{m: [3][3]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}

// normalised is the change followed by clamping to 0 to 255 and normalisation; it is valid until the next call.
func (v *viewer) normalised(a *affine) *kernel.ColorMap {
	m := &v.colors
	for c := range 3 {
		std := float64(v.std[c])
		scale, shift := 1/(255*std), -float64(v.mean[c])/std
		for k := range 3 {
			m.Matrix[c][k] = float32(a.m[c][k] * scale)
		}
		m.Shift[c] = float32(a.t*scale + shift)
		m.Low[c], m.High[c] = float32(shift), float32(255*scale+shift)
	}
	return m
}

// A turn of the colour circle by an angle is hueStill + cos(angle)*hueCos + sin(angle)*hueSin: RGB to YIQ, a turn of I
// and Q, and back, with the inverse of the first matrix.
var hueStill, hueCos, hueSin = func() (still, cos, sin [3][3]float64) {
	to := [3][3]float64{{lumaR, lumaG, lumaB}, {0.5959, -0.2746, -0.3213}, {0.2115, -0.5227, 0.3112}}
	back := inverse3(to)
	for i := range 3 {
		for j := range 3 {
			still[i][j] = back[i][0] * to[0][j]
			cos[i][j] = back[i][1]*to[1][j] + back[i][2]*to[2][j]
			sin[i][j] = back[i][2]*to[1][j] - back[i][1]*to[2][j]
		}
	}
	return still, cos, sin
}()

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

// color draws the change of colours of a view whose channels have these means.
//
// All changes are affine maps of a pixel's colour that keep grey axis and luma apart, so they commute and one matrix
// does them all; the contrast's pivot, the mean luma, is the only thing that depends on the pixels. With h the turn of
// hue: brightness * contrast * (saturation*h + (1-saturation)*luma), for the luma of h is luma.
func (o *ViewOptions) color(mean [3]float32, r *rng) affine {
	luma := [3]float64{lumaR, lumaG, lumaB}
	out := unchanged
	factor := 1.0
	if o.Brightness > 0 || o.Contrast > 0 || o.Saturation > 0 || o.Hue > 0 {
		apply := o.ColorProbability == 0 || r.float() < o.ColorProbability
		// Drawn in any case, so that the stream does not depend on what is applied.
		brightness := r.between(1-o.Brightness, 1+o.Brightness)
		contrast := r.between(1-o.Contrast, 1+o.Contrast)
		saturation := r.between(1-o.Saturation, 1+o.Saturation)
		hue := r.between(-o.Hue, o.Hue)
		if apply {
			factor = brightness * contrast
			sin, cos := math.Sincos(2 * math.Pi * hue)
			for i := range 3 {
				for j := range 3 {
					h := out.m[i][j]
					if o.Hue > 0 {
						h = hueStill[i][j] + cos*hueCos[i][j] + sin*hueSin[i][j]
					}
					out.m[i][j] = factor * (saturation*h + (1-saturation)*luma[j])
				}
			}
			var pivot float64
			for c := range 3 {
				pivot += luma[c] * float64(mean[c])
			}
			out.t = (1 - contrast) * brightness * pivot
		}
	}
	if o.Gray > 0 && r.float() < o.Gray {
		for i := range 3 {
			for j := range 3 {
				out.m[i][j] = factor * luma[j]
			}
		}
	}
	return out
}

// dropout zeroes values with probability p and scales the others by 1/(1-p).
func dropout(x []float32, p float64, r rng) {
	kernel.Dropout(x, r.Uint64(), uint32(p*(1<<32)), float32(1/(1-p)))
}

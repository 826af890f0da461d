package atlas

import (
	"image"
	"math"

	"golang.org/x/image/draw"

	"imgsearch/dataset"
)

const (
	// pixelSide is the side of the square that pictures are compared on, coarseSide that of the first, rough comparison.
	pixelSide  = 32
	coarseSide = pixelSide / 2
	// colourSide is the side of the square of mean colours that decides where there is no detail.
	colourSide = 4
)

// plane is a gray picture, [32, 32] float32.
type plane [pixelSide * pixelSide]float32

// Pixels is a picture made ready to be compared with others: see [Align]. It takes 5 KB and is not changed once made.
type Pixels struct {
	// detail is the picture's luminance without what compression and scaling lose (finer than a pixel) and without what
	// light and colour change (coarser than some ten pixels).
	detail plane
	// coarse is detail at half the size.
	coarse [coarseSide * coarseSide]float32
	// colours are mean colours, [4, 4, 3] uint8.
	colours [3 * colourSide * colourSide]uint8
}

// NewPixels makes a picture ready. It is stretched over 32x32 pixels, whatever its size and proportions, and not kept.
func NewPixels(m *dataset.Image) *Pixels {
	p := new(Pixels)
	canvas := stretched(m)
	var gray plane
	var sums [len(p.colours)]int
	for i := range gray {
		c := canvas[3*i : 3*i+3]
		gray[i] = 0.299*float32(c[0]) + 0.587*float32(c[1]) + 0.114*float32(c[2])
		block := 3 * (i/pixelSide*colourSide/pixelSide*colourSide + i%pixelSide*colourSide/pixelSide)
		for channel := range 3 {
			sums[block+channel] += int(c[channel])
		}
	}
	const each = pixelSide / colourSide * pixelSide / colourSide
	for i, sum := range sums {
		p.colours[i] = uint8((sum + each/2) / each)
	}
	fine, coarse := gray.blurred(fineBlur), gray.blurred(coarseBlur)
	for i := range p.detail {
		p.detail[i] = fine[i] - coarse[i]
	}
	for i := range p.coarse {
		at := i/coarseSide*2*pixelSide + i%coarseSide*2
		p.coarse[i] = (p.detail[at] + p.detail[at+1] + p.detail[at+pixelSide] + p.detail[at+pixelSide+1]) / 4
	}
	return p
}

// stretched returns the pixels of a picture scaled to 32x32, [32, 32, 3] uint8.
func stretched(m *dataset.Image) []uint8 {
	if m.Width == pixelSide && m.Height == pixelSide {
		return m.Pix
	}
	src, to := m.RGBA(), image.NewRGBA(image.Rect(0, 0, pixelSide, pixelSide))
	draw.CatmullRom.Scale(to, to.Rect, src, src.Rect, draw.Src, nil)
	return dataset.FromImage(to).Pix
}

// mirrored returns the picture with left and right exchanged.
func (p *Pixels) mirrored() *Pixels {
	m := new(Pixels)
	for i := range p.detail {
		m.detail[i] = p.detail[i^(pixelSide-1)]
	}
	for i := range p.coarse {
		m.coarse[i] = p.coarse[i^(coarseSide-1)]
	}
	for i := range p.colours {
		m.colours[i] = p.colours[3*(i/3^(colourSide-1))+i%3]
	}
	return m
}

var fineBlur, coarseBlur = gaussian(0.7), gaussian(4)

// gaussian returns the weights of a blur, the middle one first.
func gaussian(sigma float64) []float32 {
	weights := make([]float32, int(math.Ceil(3*sigma))+1)
	for i := range weights {
		weights[i] = float32(math.Exp(-float64(i*i) / (2 * sigma * sigma)))
	}
	return weights
}

// blurred returns the weighted means of each pixel's row and column; what lies beyond the edges does not count.
func (g *plane) blurred(weights []float32) *plane {
	return g.blurredAlong(weights, 1, pixelSide).blurredAlong(weights, pixelSide, 1)
}

// blurredAlong blurs lines whose pixels are step apart and which begin other apart.
func (g *plane) blurredAlong(weights []float32, step, other int) *plane {
	out := new(plane)
	radius := len(weights) - 1
	for at := range pixelSide {
		from, to := max(0, at-radius), min(pixelSide-1, at+radius)
		total := float32(0)
		for k := from; k <= to; k++ {
			total += weights[max(k-at, at-k)]
		}
		for k := from; k <= to; k++ {
			w := weights[max(k-at, at-k)] / total
			for line := range pixelSide {
				out[line*other+at*step] += w * g[line*other+k*step]
			}
		}
	}
	return out
}

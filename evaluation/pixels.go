package evaluation

import (
	"imgsearch/dataset"
	"imgsearch/internal/kernel"
)

const (
	// PixelSide is the size to which the pixel baselines square every image.
	PixelSide = 32
	// PixelDim is the number of values of such an image.
	PixelDim = 3 * PixelSide * PixelSide
)

// Pixels are images reduced to PixelSide x PixelSide, for the baselines: 3 KB each.
type Pixels struct {
	data []uint8 // [n, PixelDim]
}

// NewPixels returns room for n images, black until they are set.
func NewPixels(n int) *Pixels { return &Pixels{make([]uint8, n*PixelDim)} }

// Len is the number of images.
func (p *Pixels) Len() int { return len(p.data) / PixelDim }

// Set puts in image i, squared to PixelSide: scaled by its shorter side and cut to the centre. Several goroutines may
// set different images at once.
func (p *Pixels) Set(i int, img *dataset.Image) {
	copy(p.data[i*PixelDim:][:PixelDim], img.Square(PixelSide).Pix)
}

// pixelRows reads images as rows of floats: less the center, then, with unit, scaled to length one.
type pixelRows struct {
	pixels    *Pixels
	positions []int // the images that are rows, in order; nil: all
	center    []float32
	unit      bool
	threads   int
}

func (r pixelRows) size() (int, int) {
	if r.positions != nil {
		return len(r.positions), PixelDim
	}
	return r.pixels.Len(), PixelDim
}

func (r pixelRows) block(from, to int, scratch []float32) []float32 {
	kernel.Parallel(r.threads, to-from, func(i int) {
		at := from + i
		if r.positions != nil {
			at = r.positions[at]
		}
		row := scratch[i*PixelDim:][:PixelDim]
		for j, v := range r.pixels.data[at*PixelDim:][:PixelDim] {
			row[j] = float32(v)
		}
		if r.center != nil {
			kernel.Axpy(-1, r.center, row)
		}
		if r.unit {
			normalize(row)
		}
	})
	return scratch[:(to-from)*PixelDim]
}

// Subset returns the images at the given positions.
func (p *Pixels) Subset(positions []int) *Pixels {
	out := NewPixels(len(positions))
	for i, at := range positions {
		copy(out.data[i*PixelDim:][:PixelDim], p.data[at*PixelDim:][:PixelDim])
	}
	return out
}

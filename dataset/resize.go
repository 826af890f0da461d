package dataset

import (
	"image"

	"golang.org/x/image/draw"
)

// Square returns a picture of size x size pixels: the largest centred square of m, scaled with the Catmull-Rom filter
// (widened when it shrinks, so that nothing aliases). It returns m itself when m has that size already. Size must be
// positive.
func (m *Image) Square(size int) *Image {
	if m.Width == size && m.Height == size {
		return m
	}
	side := min(m.Width, m.Height)
	x, y := (m.Width-side)/2, (m.Height-side)/2
	return m.scale(image.Rect(x, y, x+side, y+side), size, size)
}

// Fit returns m scaled so that its longer side is at most max pixels, its proportions kept. It never enlarges: a
// picture that fits is returned as it is. Max must be positive.
func (m *Image) Fit(max int) *Image {
	if m.Width <= max && m.Height <= max {
		return m
	}
	width, height := scaledTo(m.Width, m.Height, max, m.Width >= m.Height)
	return m.scale(image.Rect(0, 0, m.Width, m.Height), width, height)
}

// scale resamples the part of m within r to width x height pixels. What shrinks a lot is first averaged over whole
// blocks to at least twice the size wanted, which takes a tenth of the time and looks the same.
func (m *Image) scale(r image.Rectangle, width, height int) *Image {
	part := m.crop(r)
	if r.Dx() == width && r.Dy() == height {
		return part
	}
	part = part.averaged(min(r.Dx()/(2*width), r.Dy()/(2*height)))
	src, out := part.RGBA(), image.NewRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(out, out.Rect, src, src.Rect, draw.Src, nil)
	return fromOpaque(out)
}

// crop copies the part of m within r, which must lie inside it. It returns m itself when r is all of m.
func (m *Image) crop(r image.Rectangle) *Image {
	if r.Dx() == m.Width && r.Dy() == m.Height {
		return m
	}
	out := NewImage(r.Dx(), r.Dy())
	for y := range out.Height {
		from := 3 * ((r.Min.Y+y)*m.Width + r.Min.X)
		copy(out.Pix[3*y*out.Width:3*(y+1)*out.Width], m.Pix[from:])
	}
	return out
}

// scaledTo returns the size of a width x height picture whose width (or else height) becomes side; no side becomes 0.
func scaledTo(width, height, side int, byWidth bool) (int, int) {
	scale := func(other, by int) int { return max(1, (other*side+by/2)/by) }
	if byWidth {
		return side, scale(height, width)
	}
	return scale(width, height), side
}

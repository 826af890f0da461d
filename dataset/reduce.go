package dataset

import (
	"image"
	"image/color"
)

// maxLongSide is where the longer side of a picture that Read returns ends: a picture longer than that, after its
// shorter side was reduced, loses its two ends.
const maxLongSide = 2048

// reduced converts a decoded picture and shrinks it until its shorter side is at most short. A large picture is first
// averaged over whole blocks of pixels, row by row and never all at once, to at least twice the size wanted, which the
// Catmull-Rom filter then brings down.
func reduced(src image.Image, short int) *Image {
	b := src.Bounds()
	side := min(b.Dx(), b.Dy())
	img := averaged(src, side/(2*short))
	if img == nil {
		return nil
	}
	width, height := b.Dx(), b.Dy()
	if side > short {
		width, height = scaledTo(b.Dx(), b.Dy(), short, b.Dx() <= b.Dy())
	}
	// The ends go before the filter, which would need memory for all of them.
	if width > maxLongSide {
		img = img.crop(middle(img.Width, img.Height, max(1, img.Width*maxLongSide/width), img.Height))
		width = maxLongSide
	}
	if height > maxLongSide {
		img = img.crop(middle(img.Width, img.Height, img.Width, max(1, img.Height*maxLongSide/height)))
		height = maxLongSide
	}
	return img.scale(image.Rect(0, 0, img.Width, img.Height), width, height)
}

// middle is the centred part of a picture.
func middle(width, height, toWidth, toHeight int) image.Rectangle {
	x, y := (width-toWidth)/2, (height-toHeight)/2
	return image.Rect(x, y, x+toWidth, y+toHeight)
}

// averaged converts a picture, each block of about factor x factor pixels becoming one. An empty picture gives nil.
func averaged(src image.Image, factor int) *Image {
	if factor <= 1 {
		return FromImage(src)
	}
	if photo, ok := src.(*image.YCbCr); ok {
		return averagedYCbCr(photo, factor)
	}
	b := src.Bounds()
	return averagedRows(b.Dx(), b.Dy(), factor, func(row []uint8, y int) []uint8 {
		rgbRow(row, src, b.Min.X, b.Min.Y+y)
		return row
	})
}

// averaged returns m with each block of about factor x factor pixels become one, or m itself.
func (m *Image) averaged(factor int) *Image {
	if factor <= 1 {
		return m
	}
	return averagedRows(m.Width, m.Height, factor, func(_ []uint8, y int) []uint8 {
		return m.Pix[3*y*m.Width : 3*(y+1)*m.Width]
	})
}

// maxBlock keeps the sum of a block's values within 32 bits.
const maxBlock = 1024

// blockEdges divides a length into blocks of factor pixels, or one more so that all have nearly the same size: block i
// is from edges[i] to edges[i+1].
func blockEdges(length, factor int) []int {
	n := max(1, length/min(factor, maxBlock))
	edges := make([]int, n+1)
	for i := range edges {
		edges[i] = i * length / n
	}
	return edges
}

// averagedRows averages a picture whose rows are given one by one; read may use its buffer.
func averagedRows(width, height, factor int, read func(buffer []uint8, y int) []uint8) *Image {
	columns, rows := blockEdges(width, factor), blockEdges(height, factor)
	out := NewImage(len(columns)-1, len(rows)-1)
	buffer := make([]uint8, 3*width)
	sums := make([]uint32, 3*out.Width)
	for y := range out.Height {
		clear(sums)
		for sy := rows[y]; sy < rows[y+1]; sy++ {
			addBlocks(sums, read(buffer, sy), columns)
		}
		for x := range out.Width {
			n := uint32((columns[x+1] - columns[x]) * (rows[y+1] - rows[y]))
			for c := range 3 {
				out.Pix[3*(y*out.Width+x)+c] = uint8((sums[3*x+c] + n/2) / n)
			}
		}
	}
	return out
}

// addBlocks adds the pixels of a row to the sums of their blocks.
func addBlocks(sums []uint32, row []uint8, columns []int) {
	for x := range len(columns) - 1 {
		var red, green, blue uint32
		for block := row[3*columns[x] : 3*columns[x+1]]; len(block) >= 3; block = block[3:] {
			red += uint32(block[0])
			green += uint32(block[1])
			blue += uint32(block[2])
		}
		s := sums[3*x : 3*x+3 : 3*x+3]
		s[0] += red
		s[1] += green
		s[2] += blue
	}
}

// averagedYCbCr is averaged for what most photos decode to: a block is averaged before its colour is converted, which is
// then done once a block and not once a pixel.
func averagedYCbCr(src *image.YCbCr, factor int) *Image {
	b := src.Rect
	columns, rows := blockEdges(b.Dx(), factor), blockEdges(b.Dy(), factor)
	out := NewImage(len(columns)-1, len(rows)-1)
	sums := make([][3]uint32, out.Width)
	chroma := make([]int, b.Dx()) // the chroma sample of each pixel of a row, counted from the first
	for x := range chroma {
		chroma[x] = src.COffset(b.Min.X+x, b.Min.Y) - src.COffset(b.Min.X, b.Min.Y)
	}
	for y := range out.Height {
		clear(sums)
		for sy := rows[y]; sy < rows[y+1]; sy++ {
			luma := src.Y[src.YOffset(b.Min.X, b.Min.Y+sy):][:b.Dx()]
			at := src.COffset(b.Min.X, b.Min.Y+sy)
			cb, cr := src.Cb[at:], src.Cr[at:]
			for x := range out.Width {
				var sumY, sumCb, sumCr uint32
				for _, v := range luma[columns[x]:columns[x+1]] {
					sumY += uint32(v)
				}
				for _, c := range chroma[columns[x]:columns[x+1]] {
					sumCb += uint32(cb[c])
					sumCr += uint32(cr[c])
				}
				s := &sums[x]
				s[0] += sumY
				s[1] += sumCb
				s[2] += sumCr
			}
		}
		for x, s := range sums {
			n := uint32((columns[x+1] - columns[x]) * (rows[y+1] - rows[y]))
			p := out.Pix[3*(y*out.Width+x):]
			p[0], p[1], p[2] = color.YCbCrToRGB(uint8((s[0]+n/2)/n), uint8((s[1]+n/2)/n), uint8((s[2]+n/2)/n))
		}
	}
	return out
}

package dataset

import "image"

// maxLongSide is where the longer side of a picture that Read returns ends: a picture longer than that, after its
// shorter side was reduced, loses its two ends.
const maxLongSide = 2048

// reduced converts a decoded picture and shrinks it until its shorter side is at most short. A large picture is first
// averaged over whole blocks of pixels, row by row and never all at once, to at least twice the size wanted, which the
// Catmull-Rom filter then brings down.
func reduced(src image.Image, short int) *Image {
	b := src.Bounds()
	side := min(b.Dx(), b.Dy())
	img := averaged(src, max(1, side/(2*short)))
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

// averaged converts a picture, each block of factor x factor pixels becoming one; the last blocks of a row or column may
// be smaller. An empty picture gives nil.
func averaged(src image.Image, factor int) *Image {
	if factor <= 1 {
		return FromImage(src)
	}
	b := src.Bounds()
	out := NewImage((b.Dx()+factor-1)/factor, (b.Dy()+factor-1)/factor)
	row := make([]uint8, 3*b.Dx())
	sums := make([]uint32, 3*out.Width)
	for y := range out.Height {
		clear(sums)
		from, to := y*factor, min((y+1)*factor, b.Dy())
		for sy := from; sy < to; sy++ {
			rgbRow(row, src, b.Min.X, b.Min.Y+sy)
			addBlocks(sums, row, factor)
		}
		for x := range out.Width {
			n := uint32((min((x+1)*factor, b.Dx()) - x*factor) * (to - from))
			for c := range 3 {
				out.Pix[3*(y*out.Width+x)+c] = uint8((sums[3*x+c] + n/2) / n)
			}
		}
	}
	return out
}

// addBlocks adds each run of factor pixels of a row to its block's sums.
func addBlocks(sums []uint32, row []uint8, factor int) {
	for x := 0; len(row) > 0; x++ {
		n := min(3*factor, len(row))
		var red, green, blue uint32
		for i := 0; i+2 < n; i += 3 {
			red += uint32(row[i])
			green += uint32(row[i+1])
			blue += uint32(row[i+2])
		}
		s := sums[3*x : 3*x+3 : 3*x+3]
		s[0] += red
		s[1] += green
		s[2] += blue
		row = row[n:]
	}
}

package dataset

import (
	"image"
	"image/color"
)

// Image is an RGB picture: Pix holds Height rows of Width pixels of three bytes (red, green, blue), without padding.
type Image struct {
	Width, Height int
	// Pix is [Height, Width, 3] uint8, sRGB values.
	Pix []uint8
}

// NewImage returns a black image. Width and height must be positive.
func NewImage(width, height int) *Image {
	return &Image{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
}

// FromImage converts any picture at its full size. Transparent pixels are laid over white; 16-bit values are rounded to
// 8 bits; gray, CMYK and YCbCr become RGB by the formulas of [image/color]. An empty picture gives nil.
func FromImage(src image.Image) *Image {
	b := src.Bounds()
	if b.Empty() {
		return nil
	}
	img := NewImage(b.Dx(), b.Dy())
	for y := range img.Height {
		rgbRow(img.Pix[3*y*img.Width:3*(y+1)*img.Width], src, b.Min.X, b.Min.Y+y)
	}
	return img
}

// RGBA converts to the standard library's type; every pixel is opaque.
func (m *Image) RGBA() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i, o := 0, 0; i+2 < len(m.Pix); i, o = i+3, o+4 {
		p := out.Pix[o : o+4 : o+4]
		p[0], p[1], p[2], p[3] = m.Pix[i], m.Pix[i+1], m.Pix[i+2], 0xff
	}
	return out
}

// Equal tells whether two images have the same size and the same pixels.
func (m *Image) Equal(other *Image) bool {
	return m.Width == other.Width && m.Height == other.Height && string(m.Pix) == string(other.Pix)
}

// fromOpaque drops the fourth channel of an opaque picture.
func fromOpaque(src *image.RGBA) *Image {
	b := src.Bounds()
	img := NewImage(b.Dx(), b.Dy())
	o := 0
	for y := range img.Height {
		row := src.Pix[y*src.Stride:]
		for x := range img.Width {
			copy(img.Pix[o:o+3], row[4*x:4*x+3])
			o += 3
		}
	}
	return img
}

// rgbRow writes the pixels of src from (x0, y) rightwards to dst, three bytes each, over white. The cases are the types
// that the decoders return; the last one serves every other type.
func rgbRow(dst []uint8, src image.Image, x0, y int) {
	switch src := src.(type) {
	case *image.YCbCr:
		for i := 0; i < len(dst); i += 3 {
			x := x0 + i/3
			yi, ci := src.YOffset(x, y), src.COffset(x, y)
			dst[i], dst[i+1], dst[i+2] = color.YCbCrToRGB(src.Y[yi], src.Cb[ci], src.Cr[ci])
		}
	case *image.Gray:
		row := src.Pix[src.PixOffset(x0, y):]
		for i := 0; i < len(dst); i += 3 {
			v := row[i/3]
			dst[i], dst[i+1], dst[i+2] = v, v, v
		}
	case *image.RGBA:
		row := src.Pix[src.PixOffset(x0, y):]
		for i, o := 0, 0; i < len(dst); i, o = i+3, o+4 {
			white := 0xff - row[o+3]
			dst[i], dst[i+1], dst[i+2] = addByte(row[o], white), addByte(row[o+1], white), addByte(row[o+2], white)
		}
	case *image.NRGBA:
		row := src.Pix[src.PixOffset(x0, y):]
		for i, o := 0, 0; i < len(dst); i, o = i+3, o+4 {
			a := uint32(row[o+3])
			for c := range 3 {
				dst[i+c] = uint8((uint32(row[o+c])*a + 0xff*(0xff-a) + 127) / 0xff)
			}
		}
	case *image.Paletted:
		row := src.Pix[src.PixOffset(x0, y):]
		for i := 0; i < len(dst); i += 3 {
			if entry := int(row[i/3]); entry < len(src.Palette) {
				dst[i], dst[i+1], dst[i+2] = overWhite(src.Palette[entry].RGBA())
			} else {
				dst[i], dst[i+1], dst[i+2] = 0xff, 0xff, 0xff
			}
		}
	case image.RGBA64Image:
		for i := 0; i < len(dst); i += 3 {
			dst[i], dst[i+1], dst[i+2] = overWhite(src.RGBA64At(x0+i/3, y).RGBA())
		}
	default:
		for i := 0; i < len(dst); i += 3 {
			dst[i], dst[i+1], dst[i+2] = overWhite(src.At(x0+i/3, y).RGBA())
		}
	}
}

// overWhite lays a 16-bit, alpha-premultiplied colour over white and rounds it to 8 bits.
func overWhite(r, g, b, a uint32) (uint8, uint8, uint8) {
	white := 0xffff - min(a, 0xffff)
	round := func(v uint32) uint8 { return uint8((min(v+white, 0xffff)*0xff + 0x7fff) / 0xffff) }
	return round(r), round(g), round(b)
}

func addByte(a, b uint8) uint8 { return uint8(min(uint32(a)+uint32(b), 0xff)) }

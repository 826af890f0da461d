package dataset

import (
	"bufio"
	"image"
	"image/color"
	"io"

	"golang.org/x/sync/semaphore"
)

// decodingBytes bounds what all pictures being decoded take together, file and pixels, as estimated from their headers.
// A picture that takes more than that on its own is decoded alone.
const decodingBytes = 768 << 20

var decoding = semaphore.NewWeighted(decodingBytes)

// decodingWeight estimates the memory that decoding takes.
func decodingWeight(f *format, config image.Config, fileBytes int64, progressive bool) int64 {
	var perPixel int64
	switch config.ColorModel {
	case color.GrayModel:
		perPixel = 1
	case color.Gray16Model:
		perPixel = 2
	case color.YCbCrModel:
		perPixel = 3
	case color.NRGBA64Model, color.RGBA64Model:
		perPixel = 8
	default:
		perPixel = 4
		if _, ok := config.ColorModel.(color.Palette); ok {
			perPixel = 1
		}
	}
	switch f.name {
	case "JPEG":
		if progressive {
			perPixel *= 5 // four bytes of coefficient beside each value
		}
	case "GIF", "BMP":
	default:
		perPixel *= 2 // unpacked rows, tiles or passes beside the picture
	}
	weight := 2*fileBytes + perPixel*int64(config.Width)*int64(config.Height)
	return max(1, min(weight, decodingBytes))
}

// isProgressive looks for the frame header of a JPEG file and tells whether it is a progressive one.
func isProgressive(r *bufio.Reader) bool {
	if _, err := r.Discard(2); err != nil {
		return false
	}
	for {
		marker, err := r.ReadByte()
		if err != nil {
			return false
		}
		if marker != 0xff {
			continue
		}
		for marker == 0xff {
			if marker, err = r.ReadByte(); err != nil {
				return false
			}
		}
		switch {
		case marker == 0xc2:
			return true
		case marker == 0xc0, marker == 0xc1, marker == 0xda, marker == 0xd9:
			return false
		case marker == 0, marker == 1, marker >= 0xd0 && marker <= 0xd8:
			continue
		}
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return false
		}
		if n := int(length[0])<<8 | int(length[1]); n > 2 {
			if _, err := r.Discard(n - 2); err != nil {
				return false
			}
		}
	}
}

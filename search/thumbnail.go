package search

import (
	"bytes"
	"fmt"
	"image/jpeg"

	"imgsearch/dataset"
)

// Thumbnails of at most losslessPixels are kept without loss (lossless.go): JPEG would smear what little they show, and
// its tables alone take 600 bytes. Larger ones are JPEG files.
const (
	losslessPixels = 64 * 64
	jpegQuality    = 85
)

// encodeThumbnail returns the bytes of an image's thumbnail, whose longer side is at most side pixels; none for side 0.
func encodeThumbnail(img *dataset.Image, side int) ([]byte, error) {
	if side == 0 {
		return nil, nil
	}
	img = img.Fit(side)
	if img.Width*img.Height <= losslessPixels {
		return encodeLossless(img), nil
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img.RGBA(), &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, fmt.Errorf("thumbnail: %w", err)
	}
	return b.Bytes(), nil
}

// decodeThumbnail is the inverse of encodeThumbnail. Errors are ErrNoThumbnail, or wrap ErrCorrupt.
func decodeThumbnail(b []byte) (*dataset.Image, error) {
	switch {
	case len(b) == 0:
		return nil, ErrNoThumbnail
	case b[0] == losslessMark:
		return decodeLossless(b)
	}
	config, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err == nil && (config.Width > maxThumbnail || config.Height > maxThumbnail) {
		err = fmt.Errorf("%dx%d pixels", config.Width, config.Height)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return dataset.FromImage(img), nil
}

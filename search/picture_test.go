package search_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"math/rand/v2"
)

// picture returns a small GIF file, another one for each seed.
func picture(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	img := image.NewPaletted(image.Rect(0, 0, 16, 16), color.Palette{color.Black, color.White, color.RGBA{R: 200, A: 255}})
	for i := range img.Pix {
		img.Pix[i] = uint8(rng.IntN(3))
	}
	var b bytes.Buffer
	if err := gif.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

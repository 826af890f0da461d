package dataset

import (
	"image"
	"image/color"
	"math"
	"testing"

	"golang.org/x/image/draw"
)

// smoothPhoto is a picture with soft edges, in the colours of a camera.
func smoothPhoto(width, height int, ratio image.YCbCrSubsampleRatio) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, width, height), ratio)
	wave := func(x, y int, fx, fy float64) uint8 {
		return uint8(128 + 60*math.Sin(float64(x)*fx)*math.Cos(float64(y)*fy))
	}
	for y := range height {
		for x := range width {
			m.Y[m.YOffset(x, y)] = wave(x, y, .05, .03)
			m.Cb[m.COffset(x, y)], m.Cr[m.COffset(x, y)] = wave(x, y, .02, .01), wave(y, x, .01, .04)
		}
	}
	return m
}

// worst returns the largest and the mean difference of two images of one size.
func worst(t *testing.T, a, b *Image) (largest int, mean float64) {
	t.Helper()
	if a.Width != b.Width || a.Height != b.Height {
		t.Fatalf("%dx%d and %dx%d", a.Width, a.Height, b.Width, b.Height)
	}
	for i := range a.Pix {
		d := int(a.Pix[i]) - int(b.Pix[i])
		largest, mean = max(largest, d, -d), mean+math.Abs(float64(d))
	}
	return largest, mean / float64(len(a.Pix))
}

// TestAveragedYCbCr compares the quick way with the plain one, for all kinds of chroma and for parts of pictures.
func TestAveragedYCbCr(t *testing.T) {
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422,
		image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410} {
		whole := smoothPhoto(101, 67, ratio)
		for _, src := range []image.Image{whole, whole.SubImage(image.Rect(3, 5, 98, 66)), whole.SubImage(image.Rect(8, 8, 9, 9))} {
			for _, factor := range []int{2, 3, 5, 200} {
				quick, plain := averaged(src, factor), averaged(plain{src}, factor)
				if d, _ := worst(t, quick, plain); d > 2 {
					t.Errorf("%v, factor %d, %v: differs by %d", ratio, factor, src.Bounds(), d)
				}
			}
		}
	}
}

// TestScaleLooksLikeCatmullRom compares the two steps with the filter alone.
func TestScaleLooksLikeCatmullRom(t *testing.T) {
	photo := smoothPhoto(1203, 900, image.YCbCrSubsampleRatio420)
	for _, height := range []int{32, 96, 256} {
		width := (1203*height + 450) / 900
		want := image.NewRGBA(image.Rect(0, 0, width, height))
		draw.CatmullRom.Scale(want, want.Rect, photo, photo.Rect, draw.Src, nil)
		for name, got := range map[string]*Image{
			"reduced": reduced(photo, height),
			"scale":   FromImage(photo).scale(image.Rect(0, 0, 1203, 900), width, height),
		} {
			if largest, mean := worst(t, got, FromImage(want)); largest > 6 || mean > 1.5 {
				t.Errorf("%s to height %d: differs by %d, on average by %.2f", name, height, largest, mean)
			}
		}
	}
}

func TestAveragedSmallest(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 3, 1))
	m.SetGray(0, 0, color.Gray{10})
	m.SetGray(1, 0, color.Gray{20})
	m.SetGray(2, 0, color.Gray{200})
	if got := averaged(m, 2); got.Width != 1 || got.Height != 1 || got.Pix[0] != 77 { // 230/3, rounded
		t.Errorf("%+v", got)
	}
	white := image.NewGray(image.Rect(0, 0, 5000, 5000)) // 25,000,000 times 255 is more than 32 bits hold
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	for i, v := range reduced(white, 1).Pix {
		if v != 255 {
			t.Errorf("value %d of a white picture is %d", i, v)
		}
	}
	if averaged(image.NewGray(image.Rectangle{}), 1) != nil {
		t.Error("nothing became something")
	}
}

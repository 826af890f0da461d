package dataset

import (
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"testing"
)

// TestFromImage converts one colour through every type that decoders return, and through types of others.
func TestFromImage(t *testing.T) {
	r := image.Rect(5, 7, 9, 10) // bounds need not begin at 0
	fill := func(m interface {
		image.Image
		Set(x, y int, c color.Color)
	}, c color.Color) image.Image {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				m.Set(x, y, c)
			}
		}
		return m
	}
	orange := color.NRGBA{250, 120, 10, 255}
	half := color.NRGBA{250, 120, 10, 128}
	palette := color.Palette{color.Transparent, orange, half}
	ycbcr := image.NewYCbCr(r, image.YCbCrSubsampleRatio420)
	y, cb, cr := color.RGBToYCbCr(250, 120, 10)
	for i := range ycbcr.Y {
		ycbcr.Y[i] = y
	}
	for i := range ycbcr.Cb {
		ycbcr.Cb[i], ycbcr.Cr[i] = cb, cr
	}
	invalid := image.NewPaletted(r, palette)
	for i := range invalid.Pix {
		invalid.Pix[i] = 9
	}
	over := [3]int{252, 187, 132} // half over white
	white := [3]int{255, 255, 255}
	for _, test := range []struct {
		name      string
		src       image.Image
		want      [3]int
		tolerance int
	}{
		{"RGBA", fill(image.NewRGBA(r), orange), [3]int{250, 120, 10}, 0},
		{"RGBA, half transparent", fill(image.NewRGBA(r), half), over, 1},
		{"RGBA, transparent", image.NewRGBA(r), white, 0},
		{"NRGBA", fill(image.NewNRGBA(r), orange), [3]int{250, 120, 10}, 0},
		{"NRGBA, half transparent", fill(image.NewNRGBA(r), half), over, 0},
		{"NRGBA, transparent", image.NewNRGBA(r), white, 0},
		{"RGBA64", fill(image.NewRGBA64(r), orange), [3]int{250, 120, 10}, 0},
		{"NRGBA64, half transparent", fill(image.NewNRGBA64(r), half), over, 1},
		{"NRGBA64, rounded", fill(image.NewNRGBA64(r), color.NRGBA64{0x0180, 0x0181, 0xfe80, 0xffff}), [3]int{1, 1, 254}, 0},
		{"Gray", fill(image.NewGray(r), color.Gray{77}), [3]int{77, 77, 77}, 0},
		{"Gray16", fill(image.NewGray16(r), color.Gray16{0x4d80}), [3]int{77, 77, 77}, 0},
		{"CMYK", fill(image.NewCMYK(r), orange), [3]int{250, 120, 10}, 2},
		{"YCbCr", ycbcr, [3]int{250, 120, 10}, 2},
		{"Paletted", fill(image.NewPaletted(r, palette), orange), [3]int{250, 120, 10}, 0},
		{"Paletted, transparent", image.NewPaletted(r, palette), white, 0},
		{"Paletted, index outside", invalid, white, 0},
		{"Alpha", image.NewAlpha(r), white, 0},
		{"any other", plain{fill(image.NewNRGBA(r), half)}, over, 1},
		{"part of a larger one", fill(image.NewNRGBA(image.Rect(0, 0, 20, 20)), orange).(*image.NRGBA).SubImage(r), [3]int{250, 120, 10}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := FromImage(test.src)
			if m.Width != r.Dx() || m.Height != r.Dy() || len(m.Pix) != 3*r.Dx()*r.Dy() {
				t.Fatalf("%dx%d, %d bytes", m.Width, m.Height, len(m.Pix))
			}
			for i, v := range m.Pix {
				if want := test.want[i%3]; int(v) < want-test.tolerance || int(v) > want+test.tolerance {
					t.Fatalf("value %d is %d, want %d", i, v, want)
				}
			}
		})
	}
	if FromImage(image.NewGray(image.Rectangle{})) != nil {
		t.Error("an empty picture gives an image")
	}
}

// plain hides what a picture can do beyond At.
type plain struct{ of image.Image }

func (p plain) ColorModel() color.Model { return p.of.ColorModel() }
func (p plain) Bounds() image.Rectangle { return p.of.Bounds() }
func (p plain) At(x, y int) color.Color { return p.of.At(x, y) }

func randomImage(width, height int) *Image {
	random := rand.New(rand.NewPCG(uint64(width), uint64(height)))
	m := NewImage(width, height)
	for i := range m.Pix {
		m.Pix[i] = uint8(random.Uint32())
	}
	return m
}

func TestRGBARoundTrip(t *testing.T) {
	m := randomImage(7, 5)
	if back := FromImage(m.RGBA()); !back.Equal(m) {
		t.Error("differs after RGBA and FromImage")
	}
	if m.Equal(randomImage(5, 7)) {
		t.Error("7x5 equals 5x7")
	}
}

func TestSquare(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 1}, {1, 9}, {31, 33}, {32, 64}, {100, 40}, {640, 480}} {
		for _, to := range []int{1, 8, 32, 96} {
			m := NewImage(size[0], size[1])
			for i := range m.Pix {
				m.Pix[i] = uint8(50 * (1 + i%3))
			}
			got := m.Square(to)
			if got.Width != to || got.Height != to || len(got.Pix) != 3*to*to {
				t.Fatalf("%v to %d: %dx%d", size, to, got.Width, got.Height)
			}
			for i, v := range got.Pix {
				if v != uint8(50*(1+i%3)) {
					t.Fatalf("%v to %d: an even picture became uneven", size, to)
				}
			}
		}
	}
	m := randomImage(32, 32)
	if m.Square(32) != m {
		t.Error("32x32 to 32 is not the image itself")
	}
}

// TestSquareTakesTheMiddle marks the two ends of a long picture, which must not show.
func TestSquareTakesTheMiddle(t *testing.T) {
	wide, high := NewImage(60, 20), NewImage(20, 60)
	for i := range 60 * 20 {
		if x := i % 60; x >= 20 && x < 40 {
			copy(wide.Pix[3*i:], []uint8{200, 200, 200})
		}
		if y := i / 20; y >= 20 && y < 40 {
			copy(high.Pix[3*i:], []uint8{200, 200, 200})
		}
	}
	for name, m := range map[string]*Image{"wide": wide, "high": high} {
		for _, to := range []int{20, 10, 40} {
			for i, v := range m.Square(to).Pix {
				if v != 200 {
					t.Fatalf("%s to %d: value %d is %d", name, to, i, v)
				}
			}
		}
	}
}

// TestSquareDoesNotAlias shrinks a fine checkerboard, which must become an even gray.
func TestSquareDoesNotAlias(t *testing.T) {
	m := NewImage(256, 256)
	for i := range 256 * 256 {
		if (i%256+i/256)%2 == 0 {
			copy(m.Pix[3*i:], []uint8{255, 255, 255})
		}
	}
	for i, v := range m.Square(32).Pix {
		if v < 120 || v > 135 {
			t.Fatalf("value %d is %d, want about 127", i, v)
		}
	}
}

func TestFit(t *testing.T) {
	for _, test := range []struct{ width, height, most, wantWidth, wantHeight int }{
		{32, 32, 48, 32, 32},
		{48, 10, 48, 48, 10},
		{100, 50, 48, 48, 24},
		{50, 100, 48, 24, 48},
		{1000, 1, 10, 10, 1},
		{3, 2000, 10, 1, 10},
		{49, 49, 48, 48, 48},
	} {
		m := randomImage(test.width, test.height)
		got := m.Fit(test.most)
		if got.Width != test.wantWidth || got.Height != test.wantHeight {
			t.Errorf("%dx%d in %d: %dx%d, want %dx%d", test.width, test.height, test.most, got.Width, got.Height,
				test.wantWidth, test.wantHeight)
		}
		if test.width == test.wantWidth && got != m {
			t.Errorf("%dx%d fits, but was copied", test.width, test.height)
		}
	}
}

func ExampleImage_Square() {
	photo := NewImage(640, 480)
	square := photo.Square(32)
	fmt.Println(square.Width, square.Height, len(square.Pix))
	// Output: 32 32 3072
}

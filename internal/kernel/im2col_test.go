package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestIm2col(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			c, h, w := rng.IntN(4), 1+rng.IntN(12), 1+rng.IntN(12)
			kernel, stride, pad, dilation := 1+rng.IntN(5), 1+rng.IntN(3), rng.IntN(6), 1+rng.IntN(4)
			testIm2col[float32](t, rng, c, h, w, kernel, stride, pad, dilation)
			testIm2col[float64](t, rng, c, h, w, kernel, stride, pad, dilation)
		}
	})
}

func testIm2col[T Float](t *testing.T, rng *rand.Rand, c, h, w, kernel, stride, pad, dilation int) {
	t.Helper()
	what := fmt.Sprintf("[%d %d %d] kernel %d stride %d pad %d dilation %d", c, h, w, kernel, stride, pad, dilation)
	oh, ow := ConvSize(h, kernel, stride, pad, dilation), ConvSize(w, kernel, stride, pad, dilation)
	image, columns := guarded[T](t, rng, c*h*w), guarded[T](t, rng, c*kernel*kernel*oh*ow)
	back := guarded[T](t, rng, c*h*w)
	wantBack := slices.Clone(back)
	// each calls fn with every value of columns and the pixel that belongs to it, or -1.
	each := func(fn func(column, pixel int)) {
		column := 0
		for ch := range c {
			for ky := range kernel {
				for kx := range kernel {
					for oy := range oh {
						for ox := range ow {
							y, x := oy*stride-pad+ky*dilation, ox*stride-pad+kx*dilation
							pixel := -1
							if y >= 0 && y < h && x >= 0 && x < w {
								pixel = (ch*h+y)*w + x
							}
							fn(column, pixel)
							column++
						}
					}
				}
			}
		}
	}
	Im2col(image, c, h, w, kernel, stride, pad, dilation, columns)
	each(func(column, pixel int) {
		want := T(0)
		if pixel >= 0 {
			want = image[pixel]
		}
		if columns[column] != want {
			t.Fatalf("%s: column value %d is %v, want %v", what, column, columns[column], want)
		}
	})
	for i := range columns {
		columns[i] = T(rng.IntN(64)) // small integers: their sums are exact in any order
	}
	for i := range back {
		back[i] = T(rng.IntN(64))
		wantBack[i] = back[i]
	}
	Col2im(columns, c, h, w, kernel, stride, pad, dilation, back)
	each(func(column, pixel int) {
		if pixel >= 0 {
			wantBack[pixel] += columns[column]
		}
	})
	if !slices.Equal(back, wantBack) {
		t.Fatalf("%s: Col2im differs", what)
	}
}

func TestIm2colPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for short columns")
		}
	}()
	Im2col(make([]float32, 3*8*8), 3, 8, 8, 3, 1, 1, 1, make([]float32, 27*63))
}

func BenchmarkIm2col(b *testing.B) {
	image, columns := make([]float32, 64*32*32), make([]float32, 64*9*32*32)
	b.Run("forward", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(4 * int64(len(columns)))
		for b.Loop() {
			Im2col(image, 64, 32, 32, 3, 1, 1, 1, columns)
		}
	})
	b.Run("back", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(4 * int64(len(columns)))
		for b.Loop() {
			Col2im(columns, 64, 32, 32, 3, 1, 1, 1, image)
		}
	})
}

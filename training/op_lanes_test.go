package training

import (
	"imgsearch/internal/kernel"
	"math"
	"testing"
)

func TestBlock(t *testing.T) {
	const n, channels, pixels = 2, 18, 3
	plain := make([]float64, n*channels*pixels)
	for i := range plain {
		plain[i] = float64(i + 1)
	}
	testBlock := func(what string, blocked, back []float64) {
		for i := range n {
			for c := range 2 * lanes {
				for p := range pixels {
					want := 0.0
					if c < channels {
						want = plain[(i*channels+c)*pixels+p]
					}
					if got := blocked[((i*2+c/lanes)*pixels+p)*lanes+c%lanes]; got != want {
						t.Errorf("%s: image %d, channel %d, pixel %d: %v: want %v", what, i, c, p, got, want)
					}
				}
			}
		}
		closeTo(t, what, back, plain, 0)
	}
	blocked, back := make([]float64, n*2*pixels*lanes), make([]float64, len(plain))
	for i := range blocked {
		blocked[i] = math.NaN()
	}
	block(n, channels, pixels, plain, blocked)
	unblock(n, channels, pixels, blocked, back)
	testBlock("float64", blocked, back)
	blocked32, back32 := make([]float32, len(blocked)), make([]float32, len(back))
	block(n, channels, pixels, convert[float32](plain), blocked32)
	unblock(n, channels, pixels, blocked32, back32)
	for i, v := range blocked32 {
		blocked[i] = float64(v)
	}
	for i, v := range back32 {
		back[i] = float64(v)
	}
	testBlock("float32", blocked, back)
}

func TestLaneSums(t *testing.T) {
	for _, images := range []int{1, 3, 40} {
		const channels, side = 18, 9
		plain := randomInput(uint64(images), images*channels*side*side)
		want := make([]float64, channels)
		for i, v := range plain {
			want[i/(side*side)%channels] += v
		}
		for _, threads := range []int{1, 4} {
			g := newGraph[float32](threads)
			x := g.leaf("x", false, imageShape(images, channels, side, side)...)
			block(images, channels, side*side, convert[float32](plain), x.data)
			s := newLaneSums(g, x, 2)
			s.run(func(from, to int, sums [][lanes]float64) {
				kernel.LaneSums(x.data[from:to], &sums[1])
			})
			for c, w := range want {
				if got := s.total(1, c); math.Abs(got-w) > 1e-4 {
					t.Errorf("%d images, %d threads: channel %d: %v: want %v", images, threads, c, got, w)
				}
			}
		}
	}
}

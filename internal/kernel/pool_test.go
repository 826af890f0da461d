package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var poolShapes = []MaxPool{
	{H: 2, W: 2, Size: 2, Stride: 2}, {H: 8, W: 8, Size: 2, Stride: 2}, {H: 7, W: 9, Size: 2, Stride: 2},
	{H: 7, W: 6, Size: 2, Stride: 1}, {H: 9, W: 9, Size: 3, Stride: 2}, {H: 9, W: 6, Size: 3, Stride: 3},
	{H: 11, W: 7, Size: 3, Stride: 1}, {H: 5, W: 4, Size: 1, Stride: 1}, {H: 5, W: 4, Size: 1, Stride: 2},
	{H: 13, W: 12, Size: 4, Stride: 3}, {H: 12, W: 13, Size: 5, Stride: 7}, {H: 16, W: 15, Size: 15, Stride: 1},
	{H: 20, W: 18, Size: 17, Stride: 1}, {H: 40, W: 40, Size: 20, Stride: 20},
}

func TestMaxPool(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		testMaxPool[float32](t)
		testMaxPool[float64](t)
	})
}

func testMaxPool[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, p := range poolShapes {
		for _, p.ReLU = range []bool{false, true} {
			oh, ow := p.OutSize()
			in, out := p.H*p.W*BlockChannels, oh*ow*BlockChannels
			x, y, plain, dy, dx := guarded[T](t, rng, in), guarded[T](t, rng, out), guarded[T](t, rng, out), guarded[T](t, rng, out), guarded[T](t, rng, in)
			for i := range x { // many values occur twice in a window
				x[i] = T(math.Round(float64(x[i])*2) - 2)
			}
			choice := make([]uint8, p.ChoiceLen())
			MaxPoolForward(p, x, plain, nil)
			MaxPoolForward(p, x, y, choice)
			MaxPoolBackward(p, dy, choice, dx)
			want := make([]float64, in)
			scale := make([]float64, in)
			for oy := range oh {
				for ox := range ow {
					for l := range BlockChannels {
						most, at := math.Inf(-1), -1
						for ky := range p.Size {
							for kx := range p.Size {
								i := ((oy*p.Stride+ky)*p.W+ox*p.Stride+kx)*BlockChannels + l
								if float64(x[i]) > most {
									most, at = float64(x[i]), i
								}
							}
						}
						o := (oy*ow+ox)*BlockChannels + l
						if !p.ReLU || most > 0 {
							want[at] += float64(dy[o])
							scale[at] += math.Abs(float64(dy[o]))
						}
						if p.ReLU {
							most = max(most, 0)
						}
						if float64(y[o]) != most || plain[o] != y[o] {
							t.Fatalf("%+v: value %d is %v and %v, want %v", p, o, y[o], plain[o], most)
						}
					}
				}
			}
			for i, w := range want {
				near(t, dx[i], w, scale[i], p.Size*p.Size, "%+v: gradient %d", p, i)
			}
		}
	}
}

// TestMaxPoolNaN: whatever its place in the window, NaN wins.
func TestMaxPoolNaN(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		for size := 1; size <= 5; size++ {
			for at := range size * size {
				for _, choice := range [][]uint8{nil, make([]uint8, BlockChannels)} {
					x, y := make([]float32, size*size*BlockChannels), make([]float32, BlockChannels)
					for i := range x {
						x[i] = float32(i%7) - 3
					}
					x[at*BlockChannels+5] = float32(math.NaN())
					MaxPoolForward(MaxPool{H: size, W: size, Size: size, Stride: size, ReLU: at%2 == 0}, x, y, choice)
					for l, v := range y {
						if (v != v) != (l == 5) {
							t.Fatalf("side %d, NaN at %d: lane %d is %v", size, at, l, v)
						}
					}
				}
			}
		}
	})
}

func TestMaxPoolBits(t *testing.T) {
	for _, p := range poolShapes {
		for _, p.ReLU = range []bool{false, true} {
			oh, ow := p.OutSize()
			in, out := p.H*p.W*BlockChannels, oh*ow*BlockChannels
			sameBits(t, fmt.Sprintf("%+v", p), out+in, func(rng *rand.Rand, all []float32) {
				x, dy := guarded[float32](t, rng, in), guarded[float32](t, rng, out)
				for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)} {
					x[rng.IntN(in)] = float32(v)
				}
				choice := make([]uint8, p.ChoiceLen())
				MaxPoolForward(p, x, all[:out], choice)
				MaxPoolBackward(p, dy, choice, all[out:])
			})
		}
	}
}

func TestGlobalMean(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		for _, pixels := range []int{1, 3, 64, 121} {
			for _, channels := range []int{1, 5, 16} {
				x, mean := guarded[float32](t, rng, pixels*BlockChannels), guarded[float32](t, rng, channels)
				GlobalMean(x, mean)
				for c, got := range mean {
					var want, scale float64
					for p := range pixels {
						want += float64(x[p*BlockChannels+c]) / float64(pixels)
						scale += math.Abs(float64(x[p*BlockChannels+c])) / float64(pixels)
					}
					near(t, got, want, scale, 8, "mean of channel %d over %d pixels", c, pixels)
				}
				Spread(x, mean)
				for i, got := range x {
					want := float32(0)
					if i%BlockChannels < channels {
						want = mean[i%BlockChannels]
					}
					if got != want {
						t.Fatalf("Spread: value %d of %d is %v, want %v", i, len(x), got, want)
					}
				}
			}
		}
	})
}

func BenchmarkMaxPool(b *testing.B) {
	p := MaxPool{H: 32, W: 32, Size: 2, Stride: 2, ReLU: true}
	rng := rand.New(rand.NewPCG(1, 2))
	x, y := make([]float32, 32*32*BlockChannels), make([]float32, 16*16*BlockChannels)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	choice := make([]uint8, p.ChoiceLen())
	for _, c := range []struct {
		name string
		call func()
	}{
		{"Forward", func() { MaxPoolForward(p, x, y, nil) }},
		{"Choose", func() { MaxPoolForward(p, x, y, choice) }},
		{"Backward", func() { MaxPoolBackward(p, y, choice, x) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchmarkPaths(b, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(4 * (len(x) + len(y))))
				for b.Loop() {
					c.call()
				}
			})
		})
	}
}

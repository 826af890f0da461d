package training

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"imgsearch/internal/kernel"
)

// slowConv is the definition of a convolution of n plain images, [n, channels, h, w], and of its gradients: y and,
// given dy, dx and dw.
func slowConv(s kernel.ConvShape, n int, x, w, dy []float64) (y, dx, dw []float64) {
	oh := kernel.ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation)
	ow := kernel.ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation)
	y, dx, dw = make([]float64, len(dy)), make([]float64, len(x)), make([]float64, len(w))
	for i := range n {
		for o := range s.Out {
			for oy := range oh {
				for ox := range ow {
					at := ((i*s.Out+o)*oh+oy)*ow + ox
					for c := range s.In {
						for ky := range s.Kernel {
							for kx := range s.Kernel {
								iy, ix := oy*s.Stride-s.Pad+ky*s.Dilation, ox*s.Stride-s.Pad+kx*s.Dilation
								if iy < 0 || iy >= s.H || ix < 0 || ix >= s.W {
									continue
								}
								xi := ((i*s.In+c)*s.H+iy)*s.W + ix
								wi := ((o*s.In+c)*s.Kernel+ky)*s.Kernel + kx
								y[at] += x[xi] * w[wi]
								dx[xi] += dy[at] * w[wi]
								dw[wi] += dy[at] * x[xi]
							}
						}
					}
				}
			}
		}
	}
	return y, dx, dw
}

func closeTo[T kernel.Float](t *testing.T, what string, got []T, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values: want %d", what, len(got), len(want))
	}
	for i, v := range got {
		if !(math.Abs(float64(v)-want[i]) <= tolerance*max(1, math.Abs(want[i]))) {
			t.Fatalf("%s: value %d is %v: want %v", what, i, v, want[i])
		}
	}
}

func convert[T kernel.Float](x []float64) []T {
	out := make([]T, len(x))
	for i, v := range x {
		out[i] = T(v)
	}
	return out
}

func TestConv(t *testing.T) {
	defer func(v int) { passValues = v }(passValues)
	passValues = 500
	shapes := []kernel.ConvShape{
		{H: 5, W: 7, In: 2, Out: 3, Kernel: 1, Stride: 1, Pad: 0, Dilation: 1},
		{H: 5, W: 7, In: 2, Out: 17, Kernel: 1, Stride: 3, Pad: 0, Dilation: 1},
		{H: 2, W: 2, In: 2, Out: 3, Kernel: 3, Stride: 1, Pad: 5, Dilation: 5}, // most taps lie outside
		{H: 12, W: 13, In: 20, Out: 33, Kernel: 3, Stride: 2, Pad: 1, Dilation: 2},
	}
	rng := rand.New(rand.NewPCG(41, 42))
	for range 30 {
		shapes = append(shapes, kernel.ConvShape{
			In: 1 + rng.IntN(20), Out: 1 + rng.IntN(20), H: 1 + rng.IntN(9), W: 1 + rng.IntN(9),
			Kernel: 1 + rng.IntN(4), Stride: 1 + rng.IntN(3), Pad: rng.IntN(4), Dilation: 1 + rng.IntN(3),
		})
	}
	tried := 0
	for _, s := range shapes {
		oh := kernel.ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation)
		ow := kernel.ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation)
		if oh == 0 || ow == 0 {
			continue
		}
		tried++
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			n := 1 + rng.IntN(4)
			x, w := randomInput(rng.Uint64(), n*s.In*s.H*s.W), randomInput(rng.Uint64(), s.Out*s.In*s.Kernel*s.Kernel)
			bias, dy := randomInput(rng.Uint64(), s.Out), randomInput(rng.Uint64(), n*s.Out*oh*ow)
			y, dx, dw := slowConv(s, n, x, w, dy)
			for i := range y {
				y[i] = max(y[i]+bias[i/(oh*ow)%s.Out], 0)
			}
			testConv[float64](t, s, n, x, w, bias, y, dy, dx, dw, 1e-11)
			testConv[float32](t, s, n, x, w, bias, y, dy, dx, dw, 1e-4)
		})
	}
	if tried < 20 {
		t.Errorf("only %d shapes tried", tried)
	}
}

func testConv[T kernel.Float](t *testing.T, s kernel.ConvShape, n int, x, w, bias, y, dy, dx, dw []float64, tolerance float64) {
	t.Helper()
	testArithmetic(t, newConvArithmetic[T](s, n, Float32), s, n, x, w, bias, y, dy, dx, dw, tolerance)
}

func testArithmetic[T kernel.Float](t *testing.T, c convArithmetic[T], s kernel.ConvShape, n int, x, w, bias, y, dy, dx, dw []float64, tolerance float64) {
	t.Helper()
	inPixels, outPixels := s.H*s.W, len(y)/(n*s.Out)
	blocked := func(channels, pixels int, plain []float64) []T {
		out := make([]T, n*kernel.Blocks(channels)*pixels*lanes)
		for i := range out {
			out[i] = T(math.NaN())
		}
		if plain != nil {
			block(n, channels, pixels, convert[T](plain), out)
		}
		return out
	}
	plain := func(channels, pixels int, blocked []T) []T {
		out := make([]T, n*channels*pixels)
		unblock(n, channels, pixels, blocked, out)
		return out
	}
	gotY, gotDX, gotDW := blocked(s.Out, outPixels, nil), blocked(s.In, inPixels, nil), make([]T, len(w))
	// told checks that groups come in order, and all of them, each when its images are there.
	told := func(images []T) (onImages func(first, end int), finished func()) {
		next := 0
		onImages = func(first, end int) {
			if first != next || end <= first {
				t.Fatalf("told of groups %d to %d, not of %d", first, end, next)
			}
			next = end
			if v := images[len(images)/n*(end*n/groupsOf(n))-lanes]; v != v {
				t.Fatalf("told of groups up to %d before they are done", end)
			}
		}
		return onImages, func() {
			if next != groupsOf(n) {
				t.Fatalf("told of %d groups of %d", next, groupsOf(n))
			}
		}
	}
	onImages, finished := told(gotY)
	c.forward(2, blocked(s.In, inPixels, x), convert[T](w), convert[T](bias), gotY, true, onImages)
	finished()
	closeTo(t, "y", plain(s.Out, outPixels, gotY), y, tolerance)
	onImages, finished = told(gotDX)
	c.backwardData(2, blocked(s.Out, outPixels, dy), convert[T](w), gotDX, onImages)
	finished()
	closeTo(t, "dx", plain(s.In, inPixels, gotDX), dx, tolerance)
	c.backwardWeights(2, blocked(s.In, inPixels, x), blocked(s.Out, outPixels, dy), gotDW)
	closeTo(t, "dw", gotDW, dw, tolerance)
}

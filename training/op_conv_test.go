package training

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"imgsearch/internal/kernel"
)

// slowConv is the definition of a convolution and of its gradients: y and, given dy, dx and dw.
func slowConv(g convGeometry, x, w, dy []float64) (y, dx, dw []float64) {
	y, dx, dw = make([]float64, g.out*g.n*g.oh*g.ow), make([]float64, len(x)), make([]float64, len(w))
	for o := range g.out {
		for n := range g.n {
			for oy := range g.oh {
				for ox := range g.ow {
					at := ((o*g.n+n)*g.oh+oy)*g.ow + ox
					for c := range g.c {
						for ky := range g.kernel {
							for kx := range g.kernel {
								iy, ix := oy*g.stride-g.pad+ky*g.dilation, ox*g.stride-g.pad+kx*g.dilation
								if iy < 0 || iy >= g.h || ix < 0 || ix >= g.w {
									continue
								}
								xi := ((c*g.n+n)*g.h+iy)*g.w + ix
								wi := ((o*g.c+c)*g.kernel+ky)*g.kernel + kx
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

func closeTo(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values: want %d", what, len(got), len(want))
	}
	for i, v := range got {
		if !(math.Abs(v-want[i]) <= 1e-10*max(1, math.Abs(want[i]))) {
			t.Fatalf("%s: value %d is %v: want %v", what, i, v, want[i])
		}
	}
}

func TestConv(t *testing.T) {
	geometries := []convGeometry{
		{n: 3, c: 3, h: 32, w: 32, out: 2, kernel: 3, stride: 1, pad: 1, dilation: 1}, // bands of one image
		{n: 5, c: 2, h: 4, w: 4, out: 3, kernel: 3, stride: 1, pad: 1, dilation: 1},   // many images a band
		{n: 2, c: 1, h: 40, w: 41, out: 2, kernel: 3, stride: 1, pad: 2, dilation: 2}, // rows of an image
		{n: 2, c: 2, h: 50, w: 47, out: 2, kernel: 2, stride: 2, pad: 1, dilation: 1},
		{n: 2, c: 2, h: 5, w: 7, out: 3, kernel: 1, stride: 1, pad: 0, dilation: 1},
		{n: 2, c: 2, h: 5, w: 7, out: 3, kernel: 1, stride: 3, pad: 0, dilation: 1},
		{n: 2, c: 2, h: 2, w: 2, out: 3, kernel: 3, stride: 1, pad: 5, dilation: 5}, // most taps lie outside
		{n: 20, c: 2, h: 30, w: 30, out: 2, kernel: 3, stride: 1, pad: 0, dilation: 5},
	}
	rng := rand.New(rand.NewPCG(41, 42))
	for range 40 {
		geometries = append(geometries, convGeometry{
			n: 1 + rng.IntN(4), c: 1 + rng.IntN(3), h: 1 + rng.IntN(9), w: 1 + rng.IntN(9), out: 1 + rng.IntN(4),
			kernel: 1 + rng.IntN(4), stride: 1 + rng.IntN(3), pad: rng.IntN(4), dilation: 1 + rng.IntN(3),
		})
	}
	tried := 0
	for _, c := range geometries {
		c.oh = kernel.ConvSize(c.h, c.kernel, c.stride, c.pad, c.dilation)
		c.ow = kernel.ConvSize(c.w, c.kernel, c.stride, c.pad, c.dilation)
		if c.oh == 0 || c.ow == 0 {
			continue
		}
		tried++
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			random := func(n int) []float64 {
				x := make([]float64, n)
				for i := range x {
					x[i] = rng.NormFloat64()
				}
				return x
			}
			x, w, dy := random(c.c*c.n*c.h*c.w), random(c.out*c.taps()), random(c.out*c.n*c.oh*c.ow)
			wantY, wantDX, wantDW := slowConv(c, x, w, dy)

			g := newGraph[float64](3)
			weight := &parameter[float64]{variable: g.leaf("w", true, c.out, c.c, c.kernel, c.kernel), trainable: true}
			weight.gradient = make([]float64, weight.len())
			input := g.leaf("x", true, c.c, c.n, c.h, c.w)
			y, err := addConv(g, "conv", c, input, weight, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			y.keep = true
			// What comes after it in a net is played by hand.
			grad := g.leaf("dy", false, y.shape...)
			gradients, err := y.by.diff(grad)
			if err != nil {
				t.Fatal(err)
			}
			copy(input.data, x)
			copy(weight.data, w)
			copy(grad.data, dy)
			if err := g.compile(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // what a run leaves behind must not matter
				if err := g.runAll(); err != nil {
					t.Fatal(err)
				}
				closeTo(t, "y", y.data, wantY)
				closeTo(t, "dx", gradients[0].data, wantDX)
				closeTo(t, "dw", weight.gradient, wantDW)
			}
		})
	}
	if tried < 30 {
		t.Errorf("only %d shapes tried", tried)
	}
}

// TestConvGroups: the groups of the backward pass hold each band once, and whole images.
func TestConvGroups(t *testing.T) {
	for n := 1; n < 40; n++ {
		for _, side := range []int{1, 4, 16, 32, 45} {
			c := convGeometry{n: n, c: 8, h: side, w: side, out: 8, oh: side, ow: side, kernel: 3, stride: 1, pad: 1, dilation: 1}
			list := c.bands()
			columns, next, seen := 0, 0, -1
			for _, group := range c.groups(list) {
				if group[0].image <= seen {
					t.Fatalf("%d images of side %d: image %d is in two groups", n, side, seen)
				}
				for _, b := range group {
					if b != list[next] {
						t.Fatalf("%d images of side %d: band %d is %+v: want %+v", n, side, next, b, list[next])
					}
					next++
					columns += c.columns(b)
					seen = b.image + b.images - 1
				}
			}
			if next != len(list) || columns != n*side*side {
				t.Fatalf("%d images of side %d: %d of %d bands, %d columns", n, side, next, len(list), columns)
			}
		}
	}
}

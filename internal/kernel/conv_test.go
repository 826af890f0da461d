package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// convOracle is the definition of a convolution and its gradients, in float64 on plain layouts. Beside each result it
// returns the sums of the magnitudes.
type convOracle struct {
	s      ConvShape
	n      int
	oh, ow int
}

// each calls fn for every product of the convolution with the places of its three factors.
func (o convOracle) each(fn func(x, w, y int)) {
	s := o.s
	for n := range o.n {
		for out := range s.Out {
			for in := range s.In {
				for oy := range o.oh {
					for ox := range o.ow {
						y := ((n*s.Out+out)*o.oh+oy)*o.ow + ox
						for ky := range s.Kernel {
							for kx := range s.Kernel {
								iy, ix := oy*s.Stride-s.Pad+ky*s.Dilation, ox*s.Stride-s.Pad+kx*s.Dilation
								if iy >= 0 && iy < s.H && ix >= 0 && ix < s.W {
									fn(((n*s.In+in)*s.H+iy)*s.W+ix, ((out*s.In+in)*s.Kernel+ky)*s.Kernel+kx, y)
								}
							}
						}
					}
				}
			}
		}
	}
}

func randomConvShape(rng *rand.Rand) (ConvShape, int) {
	channels := []int{1, 3, 6, 15, 16, 17, 32, 33, 54}
	for {
		s := ConvShape{
			In: channels[rng.IntN(len(channels))], Out: channels[rng.IntN(len(channels))],
			H: 1 + rng.IntN(20), W: 1 + rng.IntN(20),
			Kernel: 1 + rng.IntN(4), Stride: 1 + rng.IntN(3), Pad: rng.IntN(5), Dilation: 1 + rng.IntN(5),
		}
		if ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation) > 0 && ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation) > 0 {
			return s, 1 + rng.IntN(4)
		}
	}
}

func TestConv(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		rounds := 150
		if testing.Short() {
			rounds = 40
		}
		for _, s := range []ConvShape{
			{3, 6, 32, 32, 3, 1, 0, 1}, {6, 16, 30, 30, 3, 1, 0, 2}, {16, 32, 26, 26, 3, 1, 0, 5}, // the study's
			{3, 32, 32, 32, 3, 1, 1, 1}, {32, 64, 16, 16, 3, 2, 1, 1}, {16, 32, 8, 8, 1, 2, 0, 1}, {48, 96, 1, 1, 1, 1, 0, 1},
			{5, 5, 3, 3, 3, 3, 4, 3}, {16, 16, 4, 4, 3, 1, 5, 1}, {16, 16, 2, 33, 2, 2, 1, 1},
		} {
			testConv(t, rng, s, 3)
		}
		testConv(t, rng, ConvShape{20, 40, 4, 4, 3, 1, 1, 1}, 31)
		testConv(t, rng, ConvShape{16, 16, 3, 3, 3, 1, 1, 1}, 40)
		testConv(t, rng, ConvShape{18, 2, 21, 21, 13, 1, 12, 1}, 2) // more taps than a plan holds
		for range rounds {
			s, n := randomConvShape(rng)
			testConv(t, rng, s, n)
		}
	})
}

// blockedGuarded returns plain values in blocks, within guards, and with rubbish where the last block has no channel:
// no result may depend on it.
func blockedGuarded(t *testing.T, rng *rand.Rand, n, channels, pixels int, plain []float32) []float32 {
	blocked := guarded[float32](t, rng, n*Blocks(channels)*pixels*BlockChannels)
	Block(n, channels, pixels, plain, blocked)
	for i := range blocked {
		block := i / (pixels * BlockChannels) % Blocks(channels)
		if block*BlockChannels+i%BlockChannels >= channels {
			blocked[i] = float32(math.NaN())
		}
	}
	return blocked
}

func testConv(t *testing.T, rng *rand.Rand, s ConvShape, n int) {
	t.Helper()
	c := NewConv(s)
	w := make([]float32, s.Out*s.In*s.Kernel*s.Kernel)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	packed, back := make([]float32, c.WeightsLen()), make([]float32, len(w))
	c.PackWeights(1, w, packed)
	c.UnpackGradient(1, packed, back)
	if !slices.Equal(back, w) {
		t.Fatalf("%+v: weights do not survive packing", s)
	}
	testConvolution(t, rng, c, s, n, 0)
}

// testConvolution holds c to the definition of the convolution of shape s. With an amplification above 0, a value may be off
// by so many times more, relative to the largest sum of magnitudes instead of its own.
func testConvolution(t *testing.T, rng *rand.Rand, c Convolution, s ConvShape, n int, amplification float64) {
	t.Helper()
	oh, ow := c.OutputSize()
	what := fmt.Sprintf("%+v, %d images", s, n)
	o := convOracle{s, n, oh, ow}
	x := guarded[float32](t, rng, n*s.In*s.H*s.W)
	w := guarded[float32](t, rng, s.Out*s.In*s.Kernel*s.Kernel)
	dy := guarded[float32](t, rng, n*s.Out*oh*ow)
	bx, bdy := blockedGuarded(t, rng, n, s.In, s.H*s.W, x), blockedGuarded(t, rng, n, s.Out, oh*ow, dy)

	// Forward, with each epilogue.
	y, ySize := make([]float64, len(dy)), make([]float64, len(dy))
	dx, dxSize := make([]float64, len(x)), make([]float64, len(x))
	dw, dwSize := make([]float64, len(w)), make([]float64, len(w))
	add := func(sum, size []float64, i int, a, b float32) {
		v := float64(a) * float64(b)
		sum[i] += v
		size[i] += math.Abs(v)
	}
	o.each(func(ix, iw, iy int) {
		add(y, ySize, iy, x[ix], w[iw])
		add(dx, dxSize, ix, dy[iy], w[iw])
		add(dw, dwSize, iw, x[ix], dy[iy])
	})
	packed, transposed := guarded[float32](t, rng, c.WeightsLen()), guarded[float32](t, rng, c.WeightsLen())
	c.PackWeights(1, w, packed)
	c.PackTransposed(1, w, transposed)
	if amplification > 0 {
		for _, sizes := range [][]float64{ySize, dxSize, dwSize} {
			for i, most := 0, slices.Max(sizes); i < len(sizes); i++ {
				sizes[i] = amplification * most
			}
		}
	}

	e := ConvEpilogue{Add: rng.IntN(2) == 1, ReLU: rng.IntN(2) == 1}
	if rng.IntN(2) == 1 {
		e.Bias = make([]float32, Blocks(s.Out)*BlockChannels)
		for i := range s.Out {
			e.Bias[i] = float32(rng.NormFloat64())
		}
	}
	before := guarded[float32](t, rng, len(dy))
	by := guarded[float32](t, rng, c.OutputLen(n))
	Block(n, s.Out, oh*ow, before, by)
	first := slices.Clone(by)
	c.Forward(1, n, bx, packed, by, e)
	got := guarded[float32](t, rng, len(dy))
	Unblock(n, s.Out, oh*ow, by, got)
	for i, v := range got {
		want, size := y[i], ySize[i]
		if e.Bias != nil {
			b := float64(e.Bias[i/(oh*ow)%s.Out])
			want, size = want+b, size+math.Abs(b)
		}
		if e.Add {
			want, size = want+float64(before[i]), size+math.Abs(float64(before[i]))
		}
		if e.ReLU {
			want = max(want, 0)
		}
		near(t, v, want, size, s.In*s.Kernel*s.Kernel, "%s, epilogue %+v: output %d", what, e, i)
	}
	same := func(name string, threads int, want, got []float32) {
		t.Helper()
		for i := range want {
			if math.Float32bits(want[i]) != math.Float32bits(got[i]) && want[i] == want[i] {
				t.Fatalf("%s: %s on %d threads: value %d is %v, on one %v", what, name, threads, i, got[i], want[i])
			}
		}
	}
	for threads := 2; threads <= 5; threads++ {
		again := slices.Clone(first)
		c.Forward(threads, n, bx, packed, again, e)
		same("Forward", threads, by, again)
	}
	// Each image alone gives the same bits.
	for i := range n {
		alone := slices.Clone(first[c.OutputLen(i):c.OutputLen(i+1)])
		c.Forward(1, 1, bx[c.InputLen(i):], packed, alone, e)
		same("Forward of one image", 1, by[c.OutputLen(i):c.OutputLen(i+1)], alone)
	}

	// Backward data.
	bdx := guarded[float32](t, rng, c.InputLen(n))
	first = slices.Clone(bdx)
	addTo := rng.IntN(2) == 1
	held := make([]float32, len(x))
	if addTo {
		Unblock(n, s.In, s.H*s.W, bdx, held)
	}
	c.BackwardData(1, n, bdy, transposed, bdx, addTo)
	got = guarded[float32](t, rng, len(x))
	Unblock(n, s.In, s.H*s.W, bdx, got)
	for i, v := range got {
		near(t, v, dx[i]+float64(held[i]), dxSize[i]+math.Abs(float64(held[i])), s.Out*s.Kernel*s.Kernel, "%s: gradient of input %d", what, i)
	}
	for threads := 2; threads <= 3; threads++ {
		again := slices.Clone(first)
		c.BackwardData(threads, n, bdy, transposed, again, addTo)
		same("BackwardData", threads, bdx, again)
	}

	// Backward weights: padding channels of dy are zero there, as Forward and BackwardData leave them.
	bdy2 := guarded[float32](t, rng, len(bdy))
	Block(n, s.Out, oh*ow, dy, bdy2)
	bdw := guarded[float32](t, rng, c.GradientLen())
	c.BackwardWeights(1, n, bx, bdy2, bdw)
	got = guarded[float32](t, rng, len(w))
	c.UnpackGradient(1, bdw, got)
	for i, v := range got {
		near(t, v, dw[i], dwSize[i], n*oh*ow, "%s: gradient of weight %d", what, i)
	}
	for threads := 2; threads <= 5; threads++ {
		again := make([]float32, len(bdw))
		c.BackwardWeights(threads, n, bx, bdy2, again)
		same("BackwardWeights", threads, bdw, again)
	}
}

// TestConvPathsAgree: the vector paths give the same bits.
func TestConvPathsAgree(t *testing.T) {
	before := Name()
	defer func() { _ = choose(before) }()
	if choose("avx2") != nil || choose("avx512") != nil {
		t.Skip("this processor does not have both")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		s, n := randomConvShape(rng)
		c := NewConv(s)
		x, w := guarded[float32](t, rng, c.InputLen(n)), guarded[float32](t, rng, c.WeightsLen())
		dy := guarded[float32](t, rng, c.OutputLen(n))
		var got [2][3][]float32
		for i, name := range []string{"avx2", "avx512"} {
			_ = choose(name)
			got[i] = [3][]float32{make([]float32, c.OutputLen(n)), make([]float32, c.InputLen(n)), make([]float32, c.WeightsLen())}
			c.Forward(1, n, x, w, got[i][0], ConvEpilogue{ReLU: true})
			c.BackwardData(1, n, dy, w, got[i][1], false)
			c.BackwardWeights(1, n, x, dy, got[i][2])
		}
		for k := range 3 {
			if !slices.Equal(got[0][k], got[1][k]) {
				t.Fatalf("%+v: AVX2 and AVX-512 differ (%d)", s, k)
			}
		}
	}
}

func TestConvNotFinite(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		c := NewConv(ConvShape{In: 3, Out: 5, H: 5, W: 5, Kernel: 3, Stride: 1, Pad: 1, Dilation: 1})
		x, w, y := make([]float32, c.InputLen(1)), make([]float32, c.WeightsLen()), make([]float32, c.OutputLen(1))
		plain := make([]float32, 5*3*9)
		for i := range plain {
			plain[i] = 1
		}
		c.PackWeights(1, plain, w)
		x[0] = float32(math.NaN()) // pixel (0, 0) is seen by the outputs up to (1, 1)
		c.Forward(1, 1, x, w, y, ConvEpilogue{ReLU: true})
		for p := range 25 {
			for ch := range 5 {
				v := y[p*BlockChannels+ch]
				if seen := p/5 < 2 && p%5 < 2; seen != (v != v) || !seen && v != 0 {
					t.Errorf("pixel %d, channel %d: %v", p, ch, v)
				}
			}
		}
	})
}

func TestConvPanics(t *testing.T) {
	good := ConvShape{In: 3, Out: 5, H: 5, W: 5, Kernel: 3, Stride: 1, Pad: 1, Dilation: 1}
	c := NewConv(good)
	long := make([]float32, 10000)
	for name, call := range map[string]func(){
		"kernel too large":  func() { s := good; s.Kernel = 9; NewConv(s) },
		"no stride":         func() { s := good; s.Stride = 0; NewConv(s) },
		"short x":           func() { c.Forward(1, 1, long[:10], long, long, ConvEpilogue{}) },
		"short y":           func() { c.Forward(1, 1, long, long, long[:10], ConvEpilogue{}) },
		"short weights":     func() { c.BackwardData(1, 1, long, long[:10], long, false) },
		"unpadded bias":     func() { c.Forward(1, 1, long, long, long, ConvEpilogue{Bias: long[:5]}) },
		"short dw":          func() { c.BackwardWeights(1, 1, long, long, long[:10]) },
		"short plain block": func() { Block(1, 3, 25, long[:70], long) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

func ExampleConv() {
	// One 3x3 window of ones over one channel of 4x4 ones, padded: the outputs count the pixels that the window sees.
	conv := NewConv(ConvShape{In: 1, Out: 1, H: 4, W: 4, Kernel: 3, Stride: 1, Pad: 1, Dilation: 1})
	ones := slices.Repeat([]float32{1}, 16)
	x, y := make([]float32, conv.InputLen(1)), make([]float32, conv.OutputLen(1))
	weights := make([]float32, conv.WeightsLen())
	Block(1, 1, 16, ones, x)
	conv.PackWeights(1, ones[:9], weights)
	conv.Forward(1, 1, x, weights, y, ConvEpilogue{})
	plain := make([]float32, 16)
	Unblock(1, 1, 16, y, plain)
	fmt.Println(plain)
	// Output: [4 6 6 4 6 9 9 6 6 9 9 6 4 6 6 4]
}

func TestConvNoImages(t *testing.T) {
	c := NewConv(ConvShape{In: 3, Out: 5, H: 5, W: 5, Kernel: 3, Stride: 1, Pad: 1, Dilation: 1})
	w := make([]float32, c.WeightsLen())
	dw := slices.Repeat([]float32{1}, len(w))
	c.Forward(2, 0, nil, w, nil, ConvEpilogue{})
	c.BackwardData(2, 0, nil, w, nil, false)
	c.BackwardWeights(2, 0, nil, nil, dw)
	if slices.ContainsFunc(dw, func(v float32) bool { return v != 0 }) {
		t.Error("the gradient over no images is not zero")
	}
}

func BenchmarkConv(b *testing.B) {
	for _, s := range []ConvShape{
		{3, 32, 32, 32, 3, 1, 1, 1}, {32, 32, 32, 32, 3, 1, 1, 1}, {32, 64, 32, 32, 3, 2, 1, 1},
		{64, 64, 16, 16, 3, 1, 1, 1}, {64, 128, 16, 16, 3, 2, 1, 1}, {128, 128, 8, 8, 3, 1, 1, 1},
		{6, 16, 30, 30, 3, 1, 0, 2}, {16, 32, 26, 26, 3, 1, 0, 5}, {64, 64, 16, 16, 1, 1, 0, 1}, {128, 128, 4, 4, 3, 1, 1, 1},
	} {
		benchmarkConvolution(b, NewConv(s), s)
	}
}

func benchmarkConvolution(b *testing.B, c Convolution, s ConvShape) {
	const n = 64
	x, w, y := make([]float32, c.InputLen(n)), make([]float32, c.WeightsLen()), make([]float32, c.OutputLen(n))
	gradient := make([]float32, c.GradientLen())
	oh, ow := c.OutputSize()
	work := 2 * float64(n*s.In*s.Out*s.Kernel*s.Kernel*oh*ow)
	b.Run(fmt.Sprintf("%d-%d,%dx%d,k%ds%dd%d", s.In, s.Out, s.H, s.W, s.Kernel, s.Stride, s.Dilation), func(b *testing.B) {
		for _, direction := range []struct {
			name string
			call func()
		}{
			{"forward", func() { c.Forward(1, n, x, w, y, ConvEpilogue{ReLU: true}) }},
			{"data", func() { c.BackwardData(1, n, y, w, x, false) }},
			{"weights", func() { c.BackwardWeights(1, n, x, y, gradient) }},
		} {
			b.Run(direction.name, func(b *testing.B) {
				benchmarkPaths(b, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						direction.call()
					}
					b.ReportMetric(work*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			})
		}
	})
}

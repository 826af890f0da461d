package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestToBF16(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct{ from, want float32 }{
		{0, 0}, {1, 1}, {-1.5, -1.5}, {3.140625, 3.140625}, {inf, inf}, {-inf, -inf}, {nan, nan},
		{1 + 0x1p-8, 1},                            // a tie goes to the even fraction
		{1 + 0x3p-8, 1 + 0x1p-6},                   // upwards too
		{1 + 0x1p-8 + 0x1p-23, 1 + 0x1p-7},         // a little more than a tie
		{1 + 0x3p-8 - 0x1p-23, 1 + 0x1p-7},         // a little less
		{math.MaxFloat32, inf},                     // beyond the largest
		{0x1.fep127, 0x1.fep127},                   // the largest
		{0x1p-126, 0x1p-126}, {0x1.fffffcp-127, 0}, // below the smallest normal one
	} {
		got := ToBF16(c.from).Float32()
		if math.Float32bits(got) != math.Float32bits(c.want) && (got == got || c.want == c.want) {
			t.Errorf("%v becomes %v, want %v", c.from, got, c.want)
		}
	}
	if got := ToBF16(float32(math.Copysign(0x1p-130, -1))); got != 0x8000 {
		t.Errorf("a negative denormal becomes %#x", got)
	}
	if v := ToBF16(math.Float32frombits(0x7f800001)).Float32(); v == v {
		t.Errorf("a NaN becomes %v", v)
	}
}

// TestRoundingBF16 holds the assembly against [ToBF16] on all kinds of values.
func TestRoundingBF16(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for range 200 {
			pixels, channels := 1+rng.IntN(11), 1+rng.IntN(20)
			from, and := guarded[float32](t, rng, pixels*BlockChannels), guarded[float32](t, rng, pixels*BlockChannels)
			for i := range from {
				from[i], and[i] = math.Float32frombits(rng.Uint32()), math.Float32frombits(rng.Uint32()<<9|rng.Uint32()&0x8000)
			}
			got, want := make([]BF16, len(from)), make([]BF16, len(from))
			toBF16(from, got, channels)
			toBF16Go(from, want, channels)
			if !slices.Equal(got, want) {
				t.Fatalf("%d pixels of %d channels: %x, want %x", pixels, channels, got, want)
			}
			got, want = make([]BF16, 2*len(from)), make([]BF16, 2*len(from))
			for range 2 {
				toPairsBF16(from, and, got)
				toPairsBF16Go(from, and, want)
				if !slices.Equal(got, want) {
					t.Fatalf("pairs of %d pixels: %x, want %x", pixels, got, want)
				}
				and = nil
			}
		}
	})
}

func TestConvBF16(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 3))
		rounds := 150
		if testing.Short() {
			rounds = 15
		}
		for _, s := range []ConvShape{
			{3, 6, 32, 32, 3, 1, 0, 1}, {6, 16, 30, 30, 3, 1, 0, 2}, {16, 32, 26, 26, 3, 1, 0, 5}, // the study's
			{3, 32, 32, 32, 3, 1, 1, 1}, {32, 64, 16, 16, 3, 2, 1, 1}, {16, 32, 8, 8, 1, 2, 0, 1}, {48, 96, 1, 1, 1, 1, 0, 1},
			{5, 5, 3, 3, 3, 3, 4, 3}, {16, 16, 4, 4, 3, 1, 5, 1}, {16, 16, 2, 33, 2, 2, 1, 1},
		} {
			testConvBF16(t, rng, s, 3)
		}
		testConvBF16(t, rng, ConvShape{20, 40, 4, 4, 3, 1, 1, 1}, 31)
		testConvBF16(t, rng, ConvShape{16, 16, 3, 3, 3, 1, 1, 1}, 40)
		testConvBF16(t, rng, ConvShape{18, 2, 21, 21, 13, 1, 12, 1}, 2) // more taps than a plan holds
		testConvBF16(t, rng, ConvShape{33, 17, 64, 60, 3, 1, 1, 1}, 2)  // more than one part of scratch memory
		for range rounds {
			s, n := randomConvShape(rng)
			testConvBF16(t, rng, s, n)
		}
	})
}

func testConvBF16(t *testing.T, rng *rand.Rand, s ConvShape, n int) {
	t.Helper()
	c := NewConvBF16(s)
	oh, ow := c.OutputSize()
	what := fmt.Sprintf("%+v, %d images", s, n)
	o := convOracle{s, n, oh, ow}
	x := guarded[float32](t, rng, n*s.In*s.H*s.W)
	w := guarded[float32](t, rng, s.Out*s.In*s.Kernel*s.Kernel)
	dy := guarded[float32](t, rng, n*s.Out*oh*ow)
	bx, bdy := blockedGuarded(t, rng, n, s.In, s.H*s.W, x), blockedGuarded(t, rng, n, s.Out, oh*ow, dy)

	y, ySize := make([]float64, len(dy)), make([]float64, len(dy))
	dx, dxSize := make([]float64, len(x)), make([]float64, len(x))
	dw, dwSize := make([]float64, len(w)), make([]float64, len(w))
	add := func(sum, size []float64, i int, a, b float32) {
		v := float64(ToBF16(a).Float32()) * float64(ToBF16(b).Float32())
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
	for i := range n { // each image alone gives the same bits
		alone := slices.Clone(first[c.OutputLen(i):c.OutputLen(i+1)])
		c.Forward(1, 1, bx[c.InputLen(i):], packed, alone, e)
		same("Forward of one image", 1, by[c.OutputLen(i):c.OutputLen(i+1)], alone)
	}

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

func TestConvBF16Panics(t *testing.T) {
	c := NewConvBF16(ConvShape{In: 3, Out: 5, H: 5, W: 5, Kernel: 3, Stride: 1, Pad: 1, Dilation: 1})
	long := make([]float32, 10000)
	for name, call := range map[string]func(){
		"short x":       func() { c.Forward(1, 1, long[:10], long, long, ConvEpilogue{}) },
		"short y":       func() { c.Forward(1, 1, long, long, long[:10], ConvEpilogue{}) },
		"short weights": func() { c.BackwardData(1, 1, long, long[:10], long, false) },
		"unpadded bias": func() { c.Forward(1, 1, long, long, long, ConvEpilogue{Bias: long[:5]}) },
		"short dw":      func() { c.BackwardWeights(1, 1, long, long, long[:10]) },
		"short packed":  func() { c.PackWeights(1, long, long[:10]) },
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

func TestConvBF16NoImages(t *testing.T) {
	c := NewConvBF16(ConvShape{In: 3, Out: 5, H: 5, W: 5, Kernel: 3, Stride: 1, Pad: 1, Dilation: 1})
	w := make([]float32, c.WeightsLen())
	dw := slices.Repeat([]float32{1}, c.GradientLen())
	c.Forward(2, 0, nil, w, nil, ConvEpilogue{})
	c.BackwardData(2, 0, nil, w, nil, false)
	c.BackwardWeights(2, 0, nil, nil, dw)
	if slices.ContainsFunc(dw, func(v float32) bool { return v != 0 }) {
		t.Error("the gradient over no images is not zero")
	}
}

// BenchmarkConvBF16 runs each convolution the faster way of float32 and that of bfloat16 beside each other.
func BenchmarkConvBF16(b *testing.B) {
	for _, s := range []ConvShape{
		{3, 32, 32, 32, 3, 1, 1, 1}, {54, 32, 16, 16, 3, 1, 1, 1}, {54, 32, 32, 32, 3, 2, 1, 1},
		{32, 32, 32, 32, 3, 1, 1, 1}, {32, 64, 32, 32, 3, 2, 1, 1},
		{64, 64, 16, 16, 3, 1, 1, 1}, {64, 128, 16, 16, 3, 2, 1, 1}, {128, 128, 8, 8, 3, 1, 1, 1},
		{128, 128, 4, 4, 3, 1, 1, 1}, {64, 64, 16, 16, 1, 1, 0, 1}, {16, 32, 26, 26, 3, 1, 0, 5},
	} {
		const n = 64
		c, half := NewConvolution(s), NewConvolutionBF16(s)
		x, w, y, dw := make([]float32, c.InputLen(n)), make([]float32, c.WeightsLen()), make([]float32, c.OutputLen(n)), make([]float32, c.GradientLen())
		packed := make([]float32, half.WeightsLen())
		oh, ow := c.OutputSize()
		work := 2 * float64(n*s.In*s.Out*s.Kernel*s.Kernel*oh*ow)
		b.Run(fmt.Sprintf("%d-%d,%dx%d,k%ds%dd%d", s.In, s.Out, s.H, s.W, s.Kernel, s.Stride, s.Dilation), func(b *testing.B) {
			for _, direction := range []struct {
				name       string
				full, half func()
			}{
				{"forward", func() { c.Forward(1, n, x, w, y, ConvEpilogue{}) }, func() { half.Forward(1, n, x, packed, y, ConvEpilogue{}) }},
				{"data", func() { c.BackwardData(1, n, y, w, x, false) }, func() { half.BackwardData(1, n, y, packed, x, false) }},
				{"weights", func() { c.BackwardWeights(1, n, x, y, dw) }, func() { half.BackwardWeights(1, n, x, y, dw) }},
			} {
				for _, p := range []struct {
					name string
					call func()
				}{{"float32", direction.full}, {"bfloat16", direction.half}} {
					b.Run(direction.name+"/"+p.name, func(b *testing.B) {
						b.ReportAllocs()
						for b.Loop() {
							p.call()
						}
						b.ReportMetric(work*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
					})
				}
			}
		})
	}
}

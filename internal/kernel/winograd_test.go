package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// winogradError is how much larger errors may be than those of a direct convolution.
const winogradError = 2

func randomWinogradShape(rng *rand.Rand) (ConvShape, int) {
	channels := []int{1, 3, 6, 15, 16, 17, 32, 33, 54, 80}
	for {
		s := ConvShape{
			In: channels[rng.IntN(len(channels))], Out: channels[rng.IntN(len(channels))],
			H: 1 + rng.IntN(20), W: 1 + rng.IntN(20), Kernel: 3, Stride: 1, Pad: rng.IntN(3), Dilation: 1,
		}
		if WinogradServes(s) {
			return s, 1 + rng.IntN(4)
		}
	}
}

func TestWinograd(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		rounds := 100
		if testing.Short() {
			rounds = 25
		}
		for _, s := range []ConvShape{
			{32, 32, 32, 32, 3, 1, 1, 1}, {64, 64, 16, 16, 3, 1, 1, 1}, {128, 128, 8, 8, 3, 1, 1, 1}, {40, 20, 4, 4, 3, 1, 1, 1},
			{16, 32, 1, 1, 3, 1, 1, 1}, {3, 7, 1, 1, 3, 1, 2, 1}, {5, 5, 3, 3, 3, 1, 0, 1}, {16, 16, 2, 70, 3, 1, 1, 1},
		} {
			testConvolution(t, rng, NewWinograd(s), s, 3, winogradError)
		}
		testConvolution(t, rng, NewWinograd(ConvShape{20, 40, 4, 4, 3, 1, 1, 1}), ConvShape{20, 40, 4, 4, 3, 1, 1, 1}, 31, winogradError)
		for range rounds {
			s, n := randomWinogradShape(rng)
			testConvolution(t, rng, NewWinograd(s), s, n, winogradError)
		}
	})
}

func BenchmarkWinograd(b *testing.B) {
	for _, s := range []ConvShape{
		{32, 32, 32, 32, 3, 1, 1, 1}, {64, 64, 16, 16, 3, 1, 1, 1}, {128, 128, 8, 8, 3, 1, 1, 1}, {54, 32, 16, 16, 3, 1, 1, 1},
		{128, 128, 4, 4, 3, 1, 1, 1}, {16, 16, 32, 32, 3, 1, 1, 1}, {3, 32, 32, 32, 3, 1, 1, 1},
	} {
		benchmarkConvolution(b, NewWinograd(s), s)
	}
}

// TestWinogradError: what the documentation says of the errors.
func TestWinogradError(t *testing.T) {
	s := ConvShape{64, 64, 16, 16, 3, 1, 1, 1}
	rng := rand.New(rand.NewPCG(5, 6))
	x, w := make([]float32, s.In*s.H*s.W), make([]float32, s.Out*s.In*9)
	for i := range x {
		x[i] = max(0, float32(rng.NormFloat64())) // as behind a ReLU
	}
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	want := make([]float64, s.Out*s.H*s.W)
	convOracle{s, 1, s.H, s.W}.each(func(ix, iw, iy int) { want[iy] += float64(x[ix]) * float64(w[iw]) })
	// rms is the root of the mean squared error, relative to that of the values.
	rms := func(c Convolution) float64 {
		bx, packed, by := make([]float32, c.InputLen(1)), make([]float32, c.WeightsLen()), make([]float32, c.OutputLen(1))
		Block(1, s.In, s.H*s.W, x, bx)
		c.PackWeights(1, w, packed)
		c.Forward(1, 1, bx, packed, by, ConvEpilogue{})
		got := make([]float32, len(want))
		Unblock(1, s.Out, s.H*s.W, by, got)
		var squares, total float64
		for i, v := range want {
			squares += (float64(got[i]) - v) * (float64(got[i]) - v)
			total += v * v
		}
		return math.Sqrt(squares / total)
	}
	direct, fast := rms(NewConv(s)), rms(NewWinograd(s))
	t.Logf("relative error: direct %.2g, Winograd %.2g", direct, fast)
	directBF16, fastBF16 := rms(NewConvBF16(s)), rms(NewWinogradBF16(s))
	t.Logf("relative error in bfloat16: direct %.2g, Winograd %.2g", directBF16, fastBF16)
	if fastBF16 > 5*directBF16 || fastBF16 > 0.015 {
		t.Errorf("relative error in bfloat16 %.2g, of a direct convolution %.2g", fastBF16, directBF16)
	}
	if fast > 5*direct || fast > 2e-6 {
		t.Errorf("relative error %.2g, of a direct convolution %.2g", fast, direct)
	}
}

// TestWinogradPathsAgree: the vector paths give the same bits.
func TestWinogradPathsAgree(t *testing.T) {
	before := Name()
	defer func() { _ = choose(before) }()
	if choose("avx2") != nil || choose("avx512") != nil {
		t.Skip("this processor does not have both")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		s, n := randomWinogradShape(rng)
		c := NewWinograd(s)
		x, w := guarded[float32](t, rng, c.InputLen(n)), guarded[float32](t, rng, 9*s.In*s.Out)
		dy := guarded[float32](t, rng, c.OutputLen(n))
		var got [2][3][]float32
		for i, name := range []string{"avx2", "avx512"} {
			_ = choose(name)
			packed := make([]float32, c.WeightsLen())
			got[i] = [3][]float32{make([]float32, c.OutputLen(n)), make([]float32, c.InputLen(n)), make([]float32, c.GradientLen())}
			c.PackWeights(1, w, packed)
			c.Forward(1, n, x, packed, got[i][0], ConvEpilogue{ReLU: true})
			c.PackTransposed(1, w, packed)
			c.BackwardData(1, n, dy, packed, got[i][1], false)
			c.BackwardWeights(1, n, x, dy, got[i][2])
		}
		for k := range 3 {
			if !slices.Equal(got[0][k], got[1][k]) {
				t.Fatalf("%+v: AVX2 and AVX-512 differ (%d)", s, k)
			}
		}
	}
}

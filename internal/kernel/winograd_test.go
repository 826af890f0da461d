package kernel

import (
	"math/rand/v2"
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

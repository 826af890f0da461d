package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestWinogradBF16(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 4))
		rounds := 60
		if testing.Short() {
			rounds = 10
		}
		for _, s := range []ConvShape{
			{32, 32, 32, 32, 3, 1, 1, 1}, {64, 64, 16, 16, 3, 1, 1, 1}, {128, 128, 8, 8, 3, 1, 1, 1}, {40, 20, 4, 4, 3, 1, 1, 1},
			{16, 32, 1, 1, 3, 1, 1, 1}, {6, 6, 3, 3, 3, 1, 0, 1}, {16, 16, 2, 70, 3, 1, 1, 1},
		} {
			testWinogradBF16(t, rng, s, 3)
		}
		testWinogradBF16(t, rng, ConvShape{20, 40, 4, 4, 3, 1, 1, 1}, 31)
		for range rounds {
			s, n := randomWinogradShape(rng)
			s.In, s.Out = (s.In+1)/2*2, (s.Out+1)/2*2
			testWinogradBF16(t, rng, s, n)
		}
	})
}

// testWinogradBF16 holds the results against the definition, the errors being measured in means of squares, as shares of
// those of the results.
func testWinogradBF16(t *testing.T, rng *rand.Rand, s ConvShape, n int) {
	t.Helper()
	const most = 0.02 // 5 units in the last place of a bfloat16 value between 1 and 2
	c := NewWinogradBF16(s)
	oh, ow := c.OutputSize()
	what := fmt.Sprintf("%+v, %d images", s, n)
	o := convOracle{s, n, oh, ow}
	x := guarded[float32](t, rng, n*s.In*s.H*s.W)
	w := guarded[float32](t, rng, s.Out*s.In*9)
	dy := guarded[float32](t, rng, n*s.Out*oh*ow)
	bx, bdy := blockedGuarded(t, rng, n, s.In, s.H*s.W, x), blockedGuarded(t, rng, n, s.Out, oh*ow, dy)
	y, dx, dw := make([]float64, len(dy)), make([]float64, len(x)), make([]float64, len(w))
	o.each(func(ix, iw, iy int) {
		y[iy] += float64(x[ix]) * float64(w[iw])
		dx[ix] += float64(dy[iy]) * float64(w[iw])
		dw[iw] += float64(x[ix]) * float64(dy[iy])
	})
	squares := func(x []float64) (sum float64) {
		for _, v := range x {
			sum += v * v
		}
		return sum
	}
	check := func(name string, got []float32, want []float64, scale float64) {
		t.Helper()
		errors := make([]float64, len(got))
		for i, v := range got {
			errors[i] = float64(v) - want[i]
		}
		if share := math.Sqrt(squares(errors) / scale); !(share <= most) {
			t.Fatalf("%s: %s: error of %g", what, name, share)
		}
	}
	same := func(name string, threads int, want, got []float32) {
		t.Helper()
		for i := range want {
			if math.Float32bits(want[i]) != math.Float32bits(got[i]) && want[i] == want[i] {
				t.Fatalf("%s: %s on %d threads: value %d is %v, on one %v", what, name, threads, i, got[i], want[i])
			}
		}
	}
	packed, transposed := guarded[float32](t, rng, c.WeightsLen()), guarded[float32](t, rng, c.WeightsLen())
	c.PackWeights(1, w, packed)
	c.PackTransposed(1, w, transposed)

	scale := squares(y)
	bias := make([]float32, Blocks(s.Out)*BlockChannels)
	for i := range y {
		channel := i / (oh * ow) % s.Out
		bias[channel] = float32(channel%7) - 3
		y[i] = max(0, y[i]+float64(bias[channel]))
	}
	by, got := guarded[float32](t, rng, c.OutputLen(n)), make([]float32, len(dy))
	e := ConvEpilogue{Bias: bias, ReLU: true}
	c.Forward(1, n, bx, packed, by, e)
	Unblock(n, s.Out, oh*ow, by, got)
	check("outputs", got, y, scale)
	for threads := 2; threads <= 5; threads++ {
		again := make([]float32, len(by))
		c.Forward(threads, n, bx, packed, again, e)
		same("Forward", threads, by, again)
	}
	for i := range n { // each image alone gives the same bits
		alone := make([]float32, c.OutputLen(1))
		c.Forward(1, 1, bx[c.InputLen(i):], packed, alone, e)
		same("Forward of one image", 1, by[c.OutputLen(i):c.OutputLen(i+1)], alone)
	}

	bdx, got := guarded[float32](t, rng, c.InputLen(n)), make([]float32, len(x))
	held := slices.Clone(bdx)
	c.BackwardData(1, n, bdy, transposed, bdx, true)
	for i := range held {
		held[i] = bdx[i] - held[i]
	}
	Unblock(n, s.In, s.H*s.W, held, got)
	check("gradient of the input", got, dx, squares(dx))

	bdy2 := guarded[float32](t, rng, len(bdy))
	Block(n, s.Out, oh*ow, dy, bdy2)
	bdw, got := guarded[float32](t, rng, c.GradientLen()), make([]float32, len(w))
	c.BackwardWeights(1, n, bx, bdy2, bdw)
	c.UnpackGradient(1, bdw, got)
	check("gradient of the weights", got, dw, squares(dw))
	for threads := 2; threads <= 5; threads++ {
		again := make([]float32, len(bdw))
		c.BackwardWeights(threads, n, bx, bdy2, again)
		same("BackwardWeights", threads, bdw, again)
	}
}

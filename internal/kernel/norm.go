package kernel

import (
	"fmt"
	"math"
	"unsafe"
)

// What batch normalisation does with activations in blocks (see [Block]): x, y, dy and dx are [pixels, BlockChannels],
// values of one block of channels, of as many pixels as lie one after the other; the arrays hold a value for each
// channel. In float32 it runs on the vector units.

// sumPiece is the number of pixels that sums run over in the activations' own type: the even ones and the odd ones
// apart. The sums of pieces are added up in float64.
const sumPiece = 64

// LaneSums adds the sum of each channel to sums.
func LaneSums[T Float](x []T, sums *[BlockChannels]float64) {
	checkPixels("LaneSums", len(x), len(x))
	if x32, ok := any(x).([]float32); ok {
		laneSums32(x32, sums)
		return
	}
	laneSumsGo(x, sums)
}

// LaneMoments adds the sums of x-center and of its square to sums[0] and sums[1].
func LaneMoments[T Float](x []T, center *[BlockChannels]T, sums *[2][BlockChannels]float64) {
	checkPixels("LaneMoments", len(x), len(x))
	if x32, ok := any(x).([]float32); ok {
		laneMoments32(x32, any(center).(*[BlockChannels]float32), sums)
		return
	}
	laneMomentsGo(x, center, sums)
}

// LaneAffine is a map of the values of 16 channels, z = x*Factor + Offset, followed by y = max(z, 0) where ReLU is set,
// which keeps NaN, and what the gradient of a batch normalisation needs besides it.
type LaneAffine[T Float] struct {
	Factor, Offset [BlockChannels]T
	// Center is what LaneGradientMoments takes x relative to.
	Center [BlockChannels]T
	// Slope and Constant are the coefficients of LaneAffine.Gradient.
	Slope, Constant [BlockChannels]T
	ReLU            bool
	// Stream lets the results of Apply go past the caches, where the processor can: for results that would leave them
	// before anybody reads them, which halves the traffic with memory. Values are the same.
	Stream bool
}

// Apply sets y, which may be x, to the image of x, plus add where that is not nil: the input of a residual layer. y may
// be add too.
func (a *LaneAffine[T]) Apply(y, x, add []T) {
	checkPixels("LaneAffine.Apply", len(x), len(y))
	if add != nil {
		checkPair("LaneAffine.Apply", len(x), len(add))
	}
	if a32, ok := any(a).(*LaneAffine[float32]); ok {
		laneApply32(a32, any(y).([]float32), any(x).([]float32), any(add).([]float32))
		return
	}
	a.applyGo(y, x, add)
}

// GradientMoments adds the sums of dz and of dz*(x-Center) to sums[0] and sums[1]; dz is the gradient with respect to z
// that follows from dy, the one with respect to y: with ReLU, dy where z is above 0 and 0 elsewhere.
func (a *LaneAffine[T]) GradientMoments(x, dy []T, sums *[2][BlockChannels]float64) {
	checkPixels("LaneAffine.GradientMoments", len(x), len(dy))
	if a32, ok := any(a).(*LaneAffine[float32]); ok {
		laneGradientMoments32(a32, any(x).([]float32), any(dy).([]float32), sums)
		return
	}
	a.gradientMomentsGo(x, dy, sums)
}

// Gradient sets dx, which may be dy, to dz*Factor + x*Slope + Constant, with dz as in GradientMoments.
func (a *LaneAffine[T]) Gradient(dx, dy, x []T) {
	checkPixels("LaneAffine.Gradient", len(dx), len(dy))
	checkPixels("LaneAffine.Gradient", len(dx), len(x))
	if a32, ok := any(a).(*LaneAffine[float32]); ok {
		laneGradient32(a32, any(dx).([]float32), any(dy).([]float32), any(x).([]float32))
		return
	}
	a.gradientGo(dx, dy, x)
}

func laneSumsGo[T Float](x []T, sums *[BlockChannels]float64) {
	for len(x) > 0 {
		piece := x[:min(len(x), sumPiece*BlockChannels)]
		x = x[len(piece):]
		for l := 0; l < BlockChannels; l += 4 {
			var s [2][4]T
			for o := l; o < len(piece); o += BlockChannels {
				v, s := (*[4]T)(piece[o:]), &s[o/BlockChannels%2]
				s[0] += v[0]
				s[1] += v[1]
				s[2] += v[2]
				s[3] += v[3]
			}
			for i := range 4 {
				sums[l+i] += float64(s[0][i] + s[1][i])
			}
		}
	}
}

func laneMomentsGo[T Float](x []T, center *[BlockChannels]T, sums *[2][BlockChannels]float64) {
	for len(x) > 0 {
		piece := x[:min(len(x), sumPiece*BlockChannels)]
		x = x[len(piece):]
		for l, c := range center {
			var s, q [2]T
			for o := l; o < len(piece); o += BlockChannels {
				d := piece[o] - c
				chain := o / BlockChannels % 2
				s[chain] += d
				q[chain] += d * d
			}
			sums[0][l] += float64(s[0] + s[1])
			sums[1][l] += float64(q[0] + q[1])
		}
	}
}

func (a *LaneAffine[T]) applyGo(y, x, add []T) {
	for from := 0; from < len(x); from += BlockChannels {
		in, out := (*[BlockChannels]T)(x[from:]), (*[BlockChannels]T)(y[from:])
		var more [BlockChannels]T
		if add != nil {
			more = [BlockChannels]T(add[from:])
		}
		for l, v := range in {
			z := T(v*a.Factor[l]) + a.Offset[l]
			if a.ReLU {
				z = max(z, 0)
			}
			if add != nil {
				z += more[l]
			}
			out[l] = z
		}
	}
}

// dz returns the gradient before the ReLU of channel l.
func (a *LaneAffine[T]) dz(l int, x, dy T) T {
	if !a.ReLU {
		return dy
	}
	return whereAbove(T(x*a.Factor[l])+a.Offset[l], dy)
}

func (a *LaneAffine[T]) gradientMomentsGo(x, dy []T, sums *[2][BlockChannels]float64) {
	for len(x) > 0 {
		n := min(len(x), sumPiece*BlockChannels)
		for l := range BlockChannels {
			var s, q [2]T
			for o := l; o < n; o += BlockChannels {
				d := a.dz(l, x[o], dy[o])
				chain := o / BlockChannels % 2
				s[chain] += d
				q[chain] += d * (x[o] - a.Center[l])
			}
			sums[0][l] += float64(s[0] + s[1])
			sums[1][l] += float64(q[0] + q[1])
		}
		x, dy = x[n:], dy[n:]
	}
}

func (a *LaneAffine[T]) gradientGo(dx, dy, x []T) {
	dx, dy = dx[:len(x)], dy[:len(x)]
	for ; len(x) >= BlockChannels; x, dy, dx = x[BlockChannels:], dy[BlockChannels:], dx[BlockChannels:] {
		in, d, out := (*[BlockChannels]T)(x), (*[BlockChannels]T)(dy), (*[BlockChannels]T)(dx)
		for l, v := range in {
			out[l] = a.dz(l, v, d[l])*a.Factor[l] + (v*a.Slope[l] + a.Constant[l])
		}
	}
}

// whereAbove returns v where z is above 0 and 0 elsewhere, without a branch that nobody could predict. A float32 NaN
// counts by its sign.
func whereAbove[T Float](z, v T) T {
	if unsafe.Sizeof(z) == 4 {
		above := uint32(-int64(int32(math.Float32bits(float32(z)))) >> 63)
		return T(math.Float32frombits(math.Float32bits(float32(v)) & above))
	}
	if z > 0 {
		return v
	}
	return 0
}

// checkPixels panics unless both slices have the same length, a whole number of pixels.
func checkPixels(name string, x, y int) {
	checkPair(name, x, y)
	if x%BlockChannels != 0 {
		panic(fmt.Sprintf("kernel: %s of %d values: no whole number of pixels", name, x))
	}
}

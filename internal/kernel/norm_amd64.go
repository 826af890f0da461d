package kernel

import (
	"math"
	"unsafe"
)

// normArgs is what the assembly of norm_amd64.s takes; gen/norm.go knows the offsets.
type normArgs struct {
	x, dy, out                              *float32
	pixels                                  int
	factor, offset, center, slope, constant *[BlockChannels]float32
	sums                                    *float64
	floor                                   float32
}

//go:noescape
func laneSums512(arg *normArgs)

//go:noescape
func laneSums256(arg *normArgs)

//go:noescape
func laneMoments512(arg *normArgs)

//go:noescape
func laneMoments256(arg *normArgs)

//go:noescape
func laneGradientMoments512(arg *normArgs)

//go:noescape
func laneGradientMoments256(arg *normArgs)

//go:noescape
func laneGradientMomentsReLU512(arg *normArgs)

//go:noescape
func laneGradientMomentsReLU256(arg *normArgs)

//go:noescape
func laneScaleShift512(arg *normArgs)

//go:noescape
func laneScaleShift256(arg *normArgs)

//go:noescape
func laneScaleShiftStream512(arg *normArgs)

//go:noescape
func laneScaleShiftStream256(arg *normArgs)

//go:noescape
func laneScaleShiftAdd512(arg *normArgs)

//go:noescape
func laneScaleShiftAdd256(arg *normArgs)

//go:noescape
func laneScaleShiftAddStream512(arg *normArgs)

//go:noescape
func laneScaleShiftAddStream256(arg *normArgs)

//go:noescape
func laneGradient512(arg *normArgs)

//go:noescape
func laneGradient256(arg *normArgs)

//go:noescape
func laneGradientReLU512(arg *normArgs)

//go:noescape
func laneGradientReLU256(arg *normArgs)

func laneSums32(x []float32, sums *[BlockChannels]float64) {
	if vector == vectorNone {
		laneSumsGo(x, sums)
		return
	}
	arg := normArgs{x: unsafe.SliceData(x), pixels: len(x) / BlockChannels, sums: &sums[0]}
	if vector == vector512 {
		laneSums512(&arg)
	} else {
		laneSums256(&arg)
	}
}

func laneMoments32(x []float32, center *[BlockChannels]float32, sums *[2][BlockChannels]float64) {
	if vector == vectorNone {
		laneMomentsGo(x, center, sums)
		return
	}
	arg := normArgs{x: unsafe.SliceData(x), pixels: len(x) / BlockChannels, center: center, sums: &sums[0][0]}
	if vector == vector512 {
		laneMoments512(&arg)
	} else {
		laneMoments256(&arg)
	}
}

// newNormArgs returns what the assembly takes of a and three activations.
func newNormArgs(a *LaneAffine[float32], x, dy, out []float32) normArgs {
	return normArgs{
		x: unsafe.SliceData(x), dy: unsafe.SliceData(dy), out: unsafe.SliceData(out), pixels: len(x) / BlockChannels,
		factor: &a.Factor, offset: &a.Offset, center: &a.Center, slope: &a.Slope, constant: &a.Constant,
	}
}

func laneApply32(a *LaneAffine[float32], y, x, add []float32) {
	arg := newNormArgs(a, x, add, y)
	if !a.ReLU {
		arg.floor = float32(math.Inf(-1))
	}
	const line = 64 // bytes of a line of the cache
	stream := a.Stream && uintptr(unsafe.Pointer(arg.out))%line == 0
	wide := vector == vector512
	switch {
	case vector == vectorNone:
		a.applyGo(y, x, add)
	case wide && add != nil && stream:
		laneScaleShiftAddStream512(&arg)
	case wide && add != nil:
		laneScaleShiftAdd512(&arg)
	case wide && stream:
		laneScaleShiftStream512(&arg)
	case wide:
		laneScaleShift512(&arg)
	case add != nil && stream:
		laneScaleShiftAddStream256(&arg)
	case add != nil:
		laneScaleShiftAdd256(&arg)
	case stream:
		laneScaleShiftStream256(&arg)
	default:
		laneScaleShift256(&arg)
	}
}

func laneGradientMoments32(a *LaneAffine[float32], x, dy []float32, sums *[2][BlockChannels]float64) {
	arg := newNormArgs(a, x, dy, nil)
	arg.sums = &sums[0][0]
	switch {
	case vector == vectorNone:
		a.gradientMomentsGo(x, dy, sums)
	case vector == vector512 && a.ReLU:
		laneGradientMomentsReLU512(&arg)
	case vector == vector512:
		laneGradientMoments512(&arg)
	case a.ReLU:
		laneGradientMomentsReLU256(&arg)
	default:
		laneGradientMoments256(&arg)
	}
}

func laneGradient32(a *LaneAffine[float32], dx, dy, x []float32) {
	arg := newNormArgs(a, x, dy, dx)
	switch {
	case vector == vectorNone:
		a.gradientGo(dx, dy, x)
	case vector == vector512 && a.ReLU:
		laneGradientReLU512(&arg)
	case vector == vector512:
		laneGradient512(&arg)
	case a.ReLU:
		laneGradientReLU256(&arg)
	default:
		laneGradient256(&arg)
	}
}

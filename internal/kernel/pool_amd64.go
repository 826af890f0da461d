package kernel

import "math"

// poolArgs is what the assembly of pool_amd64.s takes; gen/pool.go knows the offsets. Distances are in bytes.
type poolArgs struct {
	x, y   *float32
	choice *uint8
	count  int // results of a row
	step   int // from one window to the next
	pitch  int // from one row of x to the next
	size   int
	floor  float32
	none   uint32 // 255: no choice where the maximum is not above 0
}

//go:noescape
func maxPool512x0(arg *poolArgs)

//go:noescape
func maxPool512x2(arg *poolArgs)

//go:noescape
func maxPool512x3(arg *poolArgs)

//go:noescape
func maxPoolChoose512x0(arg *poolArgs)

//go:noescape
func maxPoolChoose512x2(arg *poolArgs)

//go:noescape
func maxPoolChoose512x3(arg *poolArgs)

//go:noescape
func maxPoolGradient512x0(arg *poolArgs)

//go:noescape
func maxPoolGradient512x2(arg *poolArgs)

//go:noescape
func maxPoolGradient512x3(arg *poolArgs)

//go:noescape
func maxPoolGradientAdd512x0(arg *poolArgs)

//go:noescape
func maxPoolGradientAdd512x2(arg *poolArgs)

//go:noescape
func maxPoolGradientAdd512x3(arg *poolArgs)

//go:noescape
func maxPool256x0(arg *poolArgs)

//go:noescape
func maxPool256x2(arg *poolArgs)

//go:noescape
func maxPool256x3(arg *poolArgs)

//go:noescape
func maxPoolChoose256x0(arg *poolArgs)

//go:noescape
func maxPoolChoose256x2(arg *poolArgs)

//go:noescape
func maxPoolChoose256x3(arg *poolArgs)

//go:noescape
func maxPoolGradient256x0(arg *poolArgs)

//go:noescape
func maxPoolGradient256x2(arg *poolArgs)

//go:noescape
func maxPoolGradient256x3(arg *poolArgs)

//go:noescape
func maxPoolGradientAdd256x0(arg *poolArgs)

//go:noescape
func maxPoolGradientAdd256x2(arg *poolArgs)

//go:noescape
func maxPoolGradientAdd256x3(arg *poolArgs)

// poolKind is a function of pool_amd64.s.
type poolKind int

const (
	poolMax poolKind = iota
	poolChoose
	poolGradient
	poolGradientAdd
)

// run calls the function of that kind for the current code path and the size of the window.
func (a *poolArgs) run(kind poolKind) {
	if vector == vector512 {
		switch {
		case kind == poolMax && a.size == 2:
			maxPool512x2(a)
		case kind == poolMax && a.size == 3:
			maxPool512x3(a)
		case kind == poolMax:
			maxPool512x0(a)
		case kind == poolChoose && a.size == 2:
			maxPoolChoose512x2(a)
		case kind == poolChoose && a.size == 3:
			maxPoolChoose512x3(a)
		case kind == poolChoose:
			maxPoolChoose512x0(a)
		case kind == poolGradient && a.size == 2:
			maxPoolGradient512x2(a)
		case kind == poolGradient && a.size == 3:
			maxPoolGradient512x3(a)
		case kind == poolGradient:
			maxPoolGradient512x0(a)
		case a.size == 2:
			maxPoolGradientAdd512x2(a)
		case a.size == 3:
			maxPoolGradientAdd512x3(a)
		default:
			maxPoolGradientAdd512x0(a)
		}
		return
	}
	switch {
	case kind == poolMax && a.size == 2:
		maxPool256x2(a)
	case kind == poolMax && a.size == 3:
		maxPool256x3(a)
	case kind == poolMax:
		maxPool256x0(a)
	case kind == poolChoose && a.size == 2:
		maxPoolChoose256x2(a)
	case kind == poolChoose && a.size == 3:
		maxPoolChoose256x3(a)
	case kind == poolChoose:
		maxPoolChoose256x0(a)
	case kind == poolGradient && a.size == 2:
		maxPoolGradient256x2(a)
	case kind == poolGradient && a.size == 3:
		maxPoolGradient256x3(a)
	case kind == poolGradient:
		maxPoolGradient256x0(a)
	case a.size == 2:
		maxPoolGradientAdd256x2(a)
	case a.size == 3:
		maxPoolGradientAdd256x3(a)
	default:
		maxPoolGradientAdd256x0(a)
	}
}

// rows calls the function of that kind for each row of results.
func (p MaxPool) rows(kind poolKind, x, y []float32, choice []uint8) {
	const pixel = 4 * BlockChannels
	oh, ow := p.OutSize()
	arg := poolArgs{
		count: ow, step: p.Stride * pixel, pitch: p.W * pixel, size: p.Size, floor: float32(math.Inf(-1)),
	}
	if p.ReLU {
		arg.floor, arg.none = 0, 255
	}
	for oy := range oh {
		arg.x, arg.y = &x[oy*p.Stride*p.W*BlockChannels], &y[oy*ow*BlockChannels]
		if choice != nil {
			arg.choice = &choice[oy*ow*BlockChannels]
		}
		arg.run(kind)
	}
}

func maxPoolForward32(p MaxPool, x, y []float32, choice []uint8) {
	switch {
	case vector == vectorNone || choice != nil && p.Size > maxByteSize:
		maxPoolForwardGo(p, x, y, choice)
	case choice == nil:
		p.rows(poolMax, x, y, nil)
	default:
		p.rows(poolChoose, x, y, choice)
	}
}

func maxPoolBackward32(p MaxPool, dy []float32, choice []uint8, dx []float32) {
	oh, ow := p.OutSize()
	switch {
	case vector == vectorNone || p.Size > maxByteSize:
		maxPoolBackwardGo(p, dy, choice, dx)
	case p.Stride < p.Size:
		clear(dx[:p.H*p.W*BlockChannels])
		p.rows(poolGradientAdd, dx, dy, choice)
	default:
		if p.Stride != p.Size || oh*p.Size != p.H || ow*p.Size != p.W { // some pixels are in no window
			clear(dx[:p.H*p.W*BlockChannels])
		}
		p.rows(poolGradient, dx, dy, choice)
	}
}

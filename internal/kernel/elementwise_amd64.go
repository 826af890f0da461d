package kernel

import "unsafe"

//go:noescape
func addMax512(z, x, y *float32, n int, floor float32)

//go:noescape
func addMax256(z, x, y *float32, n int, floor float32)

//go:noescape
func relu512(y, x *float32, n int)

//go:noescape
func relu256(y, x *float32, n int)

//go:noescape
func reluGradient512(dz, dy, y *float32, n int)

//go:noescape
func reluGradient256(dz, dy, y *float32, n int)

//go:noescape
func sgd512(w, v, grad *float32, n int, momentum, decay, rate, gradientRate float32)

//go:noescape
func sgd256(w, v, grad *float32, n int, momentum, decay, rate, gradientRate float32)

func addMax32(z, x, y []float32, floor float32) {
	switch vector {
	case vector512:
		addMax512(unsafe.SliceData(z), unsafe.SliceData(x), unsafe.SliceData(y), len(z), floor)
	case vector256:
		addMax256(unsafe.SliceData(z), unsafe.SliceData(x), unsafe.SliceData(y), len(z), floor)
	default:
		addMaxGo(z, x, y, floor)
	}
}

func relu32(y, x []float32) {
	switch vector {
	case vector512:
		relu512(unsafe.SliceData(y), unsafe.SliceData(x), len(x))
	case vector256:
		relu256(unsafe.SliceData(y), unsafe.SliceData(x), len(x))
	default:
		reluGo(y, x)
	}
}

func reluGradient32(dz, dy, y []float32) {
	switch vector {
	case vector512:
		reluGradient512(unsafe.SliceData(dz), unsafe.SliceData(dy), unsafe.SliceData(y), len(y))
	case vector256:
		reluGradient256(unsafe.SliceData(dz), unsafe.SliceData(dy), unsafe.SliceData(y), len(y))
	default:
		reluGradientGo(dz, dy, y)
	}
}

func sgd32(w, v, g []float32, momentum, decay, rate, gradientRate float32) {
	switch vector {
	case vector512:
		sgd512(unsafe.SliceData(w), unsafe.SliceData(v), unsafe.SliceData(g), len(w), momentum, decay, rate, gradientRate)
	case vector256:
		sgd256(unsafe.SliceData(w), unsafe.SliceData(v), unsafe.SliceData(g), len(w), momentum, decay, rate, gradientRate)
	default:
		sgdGo(w, v, g, momentum, decay, rate, gradientRate)
	}
}

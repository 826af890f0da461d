package kernel

import "unsafe"

//go:noescape
func axpy512(alpha float32, x, y *float32, n int)

//go:noescape
func axpy256(alpha float32, x, y *float32, n int)

//go:noescape
func scale512(alpha float32, x *float32, n int)

//go:noescape
func scale256(alpha float32, x *float32, n int)

//go:noescape
func sum512(x *float32, n int) float32

//go:noescape
func sum256(x *float32, n int) float32

func axpy32(alpha float32, x, y []float32) {
	switch vector {
	case vector512:
		axpy512(alpha, unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	case vector256:
		axpy256(alpha, unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	default:
		axpyGo(alpha, x, y)
	}
}

func scale32(alpha float32, x []float32) {
	switch vector {
	case vector512:
		scale512(alpha, unsafe.SliceData(x), len(x))
	case vector256:
		scale256(alpha, unsafe.SliceData(x), len(x))
	default:
		scaleGo(alpha, x)
	}
}

func sum32(x []float32) float32 {
	switch vector {
	case vector512:
		return sum512(unsafe.SliceData(x), len(x))
	case vector256:
		return sum256(unsafe.SliceData(x), len(x))
	}
	return sumGo(x)
}

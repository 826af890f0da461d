package kernel

import "unsafe"

//go:noescape
func sqrt512(x *float32, n int)

//go:noescape
func sqrt256(x *float32, n int)

//go:noescape
func quotient512(w, d *float32, n int, scale float32)

//go:noescape
func quotient256(w, d *float32, n int, scale float32)

//go:noescape
func countBelow512(x *float32, n int, bound float32) int

//go:noescape
func countBelow256(x *float32, n int, bound float32) int

//go:noescape
func rowRange512(x *float32, out *[3]float32, n int, bound float32)

//go:noescape
func rowRange256(x *float32, out *[3]float32, n int, bound float32)

//go:noescape
func expSum512(y, x *float32, n int, center, scale float32) float32

//go:noescape
func expSum256(y, x *float32, n int, center, scale float32) float32

//go:noescape
func symmetrize512(a, b *float32, ld int)

//go:noescape
func symmetrize256(a, b *float32, ld int)

// symmetrize32 is symmetrizeGo in squares as far as there are whole ones.
func symmetrize32(x []float32, n, top, bottom int) {
	side, square := 16, symmetrize512
	switch vector {
	case vector256:
		side, square = 8, symmetrize256
	case vectorNone:
		symmetrizeGo(x, n, top, bottom)
		return
	}
	for ; top+side <= bottom; top += side {
		for left := 0; left <= top; left += side {
			square(&x[top*n+left], &x[left*n+top], 4*n)
		}
	}
	symmetrizeGo(x, n, top, bottom)
}

func sqrt32(x []float32) {
	switch vector {
	case vector512:
		sqrt512(unsafe.SliceData(x), len(x))
	case vector256:
		sqrt256(unsafe.SliceData(x), len(x))
	default:
		sqrtGo(x)
	}
}

func quotient32(w, d []float32, scale float32) {
	switch vector {
	case vector512:
		quotient512(unsafe.SliceData(w), unsafe.SliceData(d), len(w), scale)
	case vector256:
		quotient256(unsafe.SliceData(w), unsafe.SliceData(d), len(w), scale)
	default:
		quotientGo(w, d, scale)
	}
}

func countBelow32(x []float32, bound float32) int {
	switch vector {
	case vector512:
		return countBelow512(unsafe.SliceData(x), len(x), bound)
	case vector256:
		return countBelow256(unsafe.SliceData(x), len(x), bound)
	}
	return countBelowGo(x, bound)
}

func rowRange32(x []float32, bound float32) (least, most, above float32) {
	var out [3]float32
	switch vector {
	case vector512:
		rowRange512(unsafe.SliceData(x), &out, len(x), bound)
	case vector256:
		rowRange256(unsafe.SliceData(x), &out, len(x), bound)
	default:
		return rowRangeGo(x, bound)
	}
	return out[0], out[1], out[2]
}

func expSum32(y, x []float32, center, scale float32) float32 {
	switch vector {
	case vector512:
		return expSum512(unsafe.SliceData(y), unsafe.SliceData(x), len(x), center, scale)
	case vector256:
		return expSum256(unsafe.SliceData(y), unsafe.SliceData(x), len(x), center, scale)
	}
	return expSumGo(y, x, center, scale)
}

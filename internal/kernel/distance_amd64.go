package kernel

import "unsafe"

//go:noescape
func dot512(a, b *float32, n int) float32

//go:noescape
func dot256(a, b *float32, n int) float32

//go:noescape
func squaredL2512(a, b *float32, n int) float32

//go:noescape
func squaredL2256(a, b *float32, n int) float32

//go:noescape
func dotRows512(q, rows, out *float32, dim, n int)

//go:noescape
func dotRows256(q, rows, out *float32, dim, n int)

//go:noescape
func squaredL2Rows512(q, rows, out *float32, dim, n int)

//go:noescape
func squaredL2Rows256(q, rows, out *float32, dim, n int)

//go:noescape
func squaredL2Each512(q *float32, rows **float32, out *float32, dim, n int)

//go:noescape
func squaredL2Each256(q *float32, rows **float32, out *float32, dim, n int)

func dot(a, b []float32) float32 {
	switch vector {
	case vector512:
		return dot512(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	case vector256:
		return dot256(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	}
	return dotGo(a, b)
}

func squaredL2(a, b []float32) float32 {
	switch vector {
	case vector512:
		return squaredL2512(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	case vector256:
		return squaredL2256(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	}
	return squaredL2Go(a, b)
}

func dotRows(q, rows, out []float32) {
	switch vector {
	case vector512:
		dotRows512(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	case vector256:
		dotRows256(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	default:
		dotRowsGo(q, rows, out)
	}
}

func squaredL2Rows(q, rows, out []float32) {
	switch vector {
	case vector512:
		squaredL2Rows512(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	case vector256:
		squaredL2Rows256(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	default:
		squaredL2RowsGo(q, rows, out)
	}
}

func squaredL2Each(q []float32, rows []*float32, out []float32) {
	switch vector {
	case vector512:
		squaredL2Each512(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	case vector256:
		squaredL2Each256(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	default:
		squaredL2EachGo(q, rows, out)
	}
}

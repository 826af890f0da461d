package kernel

import "unsafe"

//go:noescape
func squaredL2Codes512(q *uint8, rows **uint8, out *uint32, width, n int)

//go:noescape
func squaredL2Codes256(q *uint8, rows **uint8, out *uint32, width, n int)

func squaredL2Codes(q []uint8, rows []*uint8, out []uint32) {
	switch vector {
	case vector512:
		squaredL2Codes512(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	case vector256:
		squaredL2Codes256(unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(out), len(q), len(out))
	default:
		squaredL2CodesGo(q, rows, out)
	}
}

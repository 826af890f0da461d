package kernel

import "unsafe"

//go:noescape
func repel512(x, y, m *float32, n int, px, py float32) (fx, fy, sum float32)

//go:noescape
func repel256(x, y, m *float32, n int, px, py float32) (fx, fy, sum float32)

//go:noescape
func attract512(places *float32, at *int32, m *float32, n int, px, py float32) (fx, fy float32)

//go:noescape
func attract256(places *float32, at *int32, m *float32, n int, px, py float32) (fx, fy float32)

func repel32(x, y, m []float32, px, py float32) (fx, fy, sum float32) {
	switch vector {
	case vector512:
		return repel512(unsafe.SliceData(x), unsafe.SliceData(y), unsafe.SliceData(m), len(x), px, py)
	case vector256:
		return repel256(unsafe.SliceData(x), unsafe.SliceData(y), unsafe.SliceData(m), len(x), px, py)
	}
	return repelGo(x, y, m, px, py)
}

func attract32(places []float32, at []int32, m []float32, px, py float32) (fx, fy float32) {
	switch vector {
	case vector512:
		return attract512(unsafe.SliceData(places), unsafe.SliceData(at), unsafe.SliceData(m), len(at), px, py)
	case vector256:
		return attract256(unsafe.SliceData(places), unsafe.SliceData(at), unsafe.SliceData(m), len(at), px, py)
	}
	return attractGo(places, at, m, px, py)
}

//go:build !amd64

package kernel

func repel32(x, y, m []float32, px, py float32) (fx, fy, sum float32) {
	return repelGo(x, y, m, px, py)
}

func attract32(places []float32, at []int32, m []float32, px, py float32) (fx, fy float32) {
	return attractGo(places, at, m, px, py)
}

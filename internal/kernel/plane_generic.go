//go:build !amd64

package kernel

func repel32(x, y, m []float32, px, py float32) (fx, fy, sum float32) {
	return repelGo(x, y, m, px, py)
}

func attract32(x, y, m []float32, px, py float32) (fx, fy float32) {
	return attractGo(x, y, m, px, py)
}

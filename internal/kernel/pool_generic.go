//go:build !amd64

package kernel

func maxPoolForward32(p MaxPool, x, y []float32, choice []uint8) { maxPoolForwardGo(p, x, y, choice) }

func maxPoolBackward32(p MaxPool, dy []float32, choice []uint8, dx []float32) {
	maxPoolBackwardGo(p, dy, choice, dx)
}

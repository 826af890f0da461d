//go:build !amd64

package kernel

func addMax32(z, x, y []float32, floor float32) { addMaxGo(z, x, y, floor) }

func relu32(y, x []float32) { reluGo(y, x) }

func reluGradient32(dz, dy, y []float32) { reluGradientGo(dz, dy, y) }

func sgd32(w, v, g []float32, momentum, decay, rate, gradientRate float32) {
	sgdGo(w, v, g, momentum, decay, rate, gradientRate)
}

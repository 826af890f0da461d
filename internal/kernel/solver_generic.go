//go:build !amd64

package kernel

func adam32(w, m, v, g []float32, s AdamStep) { adamGo(w, m, v, g, s) }

package kernel

import "unsafe"

//go:noescape
func adam512(w, m, v, grad *float32, n int, beta1, rest1, beta2, rest2, keep, mRate, gRate, epsilon float32)

//go:noescape
func adam256(w, m, v, grad *float32, n int, beta1, rest1, beta2, rest2, keep, mRate, gRate, epsilon float32)

func adam32(w, m, v, g []float32, s AdamStep) {
	step := adam512
	switch vector {
	case vector256:
		step = adam256
	case vectorNone:
		adamGo(w, m, v, g, s)
		return
	}
	step(unsafe.SliceData(w), unsafe.SliceData(m), unsafe.SliceData(v), unsafe.SliceData(g), len(w),
		float32(s.Beta1), float32(1-s.Beta1), float32(s.Beta2), float32(1-s.Beta2),
		float32(s.Keep), float32(s.MeanRate), float32(s.GradientRate), float32(s.Epsilon))
}

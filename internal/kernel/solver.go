package kernel

import "math"

// AdamStep is what all values of a parameter have in common in a step of [AdamW].
type AdamStep struct {
	// Beta1 and Beta2 are the shares of the past in the means of gradients and of their squares.
	Beta1, Beta2 float64
	// Keep is what is left of a weight by weight decay.
	Keep float64
	// MeanRate and GradientRate are how far a weight goes along the mean and along the gradient itself, Epsilon what is
	// added to the root of the mean square; corrections of the means' bias are part of the three.
	MeanRate, GradientRate, Epsilon float64
}

// AdamW is one step of Adam with decoupled weight decay: m becomes Beta1*m + (1-Beta1)*g, v Beta2*v + (1-Beta2)*g*g,
// and w Keep*w - (MeanRate*m + GradientRate*g) / (sqrt(v) + Epsilon). w, m, v and g are equally long.
func AdamW[T Float](w, m, v, g []T, s AdamStep) {
	checkPair("AdamW", len(w), len(m))
	checkPair("AdamW", len(w), len(v))
	checkPair("AdamW", len(w), len(g))
	if w32, ok := any(w).([]float32); ok {
		adam32(w32, any(m).([]float32), any(v).([]float32), any(g).([]float32), s)
		return
	}
	adamGo(w, m, v, g, s)
}

func adamGo[T Float](w, m, v, g []T, s AdamStep) {
	beta1, rest1, beta2, rest2 := T(s.Beta1), T(1-s.Beta1), T(s.Beta2), T(1-s.Beta2)
	keep, mRate, gRate, epsilon := T(s.Keep), T(s.MeanRate), T(s.GradientRate), T(s.Epsilon)
	w, m, v = w[:len(g)], m[:len(g)], v[:len(g)]
	for i, g := range g {
		m[i] = beta1*m[i] + rest1*g
		v[i] = beta2*v[i] + rest2*(g*g)
		w[i] = keep*w[i] - (mRate*m[i]+gRate*g)/(T(math.Sqrt(float64(v[i])))+epsilon)
	}
}

package kernel

import "math"

// ReLU sets y, which may be x, to max(x, 0), which keeps NaN.
func ReLU[T Float](y, x []T) {
	checkPair("ReLU", len(y), len(x))
	if x32, ok := any(x).([]float32); ok {
		relu32(any(y).([]float32), x32)
		return
	}
	reluGo(y, x)
}

// ReLUGradient sets dz, which may be dy, to dy where y is above 0 and to 0 elsewhere: the gradient of y = max(z, 0) with
// respect to z. A float32 NaN in y counts by its sign.
func ReLUGradient[T Float](dz, dy, y []T) {
	checkPair("ReLUGradient", len(dz), len(dy))
	checkPair("ReLUGradient", len(dz), len(y))
	if y32, ok := any(y).([]float32); ok {
		reluGradient32(any(dz).([]float32), any(dy).([]float32), y32)
		return
	}
	reluGradientGo(dz, dy, y)
}

// AddInto sets z, which may be x or y, to x + y, or with relu to the maximum of that and 0, which keeps NaN.
func AddInto[T Float](z, x, y []T, relu bool) {
	checkPair("AddInto", len(z), len(x))
	checkPair("AddInto", len(z), len(y))
	floor := math.Inf(-1)
	if relu {
		floor = 0
	}
	if z32, ok := any(z).([]float32); ok {
		addMax32(z32, any(x).([]float32), any(y).([]float32), float32(floor))
		return
	}
	addMaxGo(z, x, y, T(floor))
}

// SGD is one step of stochastic gradient descent with momentum as torch.optim.SGD has it: with h = g + decay*w,
// v becomes momentum*v + h, and w goes down by rate*v or, with nesterov, by rate*(h + momentum*v). w, v and g are
// equally long.
func SGD[T Float](w, v, g []T, rate, momentum, decay T, nesterov bool) {
	checkPair("SGD", len(w), len(v))
	checkPair("SGD", len(w), len(g))
	gradientRate := T(0)
	if nesterov {
		rate, gradientRate = rate*momentum, rate
	}
	if w32, ok := any(w).([]float32); ok {
		sgd32(w32, any(v).([]float32), any(g).([]float32), float32(momentum), float32(decay), float32(rate), float32(gradientRate))
		return
	}
	sgdGo(w, v, g, momentum, decay, rate, gradientRate)
}

func reluGo[T Float](y, x []T) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = max(v, 0)
	}
}

func reluGradientGo[T Float](dz, dy, y []T) {
	dz, dy = dz[:len(y)], dy[:len(y)]
	for i, v := range y {
		dz[i] = whereAbove(v, dy[i])
	}
}

func addMaxGo[T Float](z, x, y []T, floor T) {
	x, y = x[:len(z)], y[:len(z)]
	for i, v := range x {
		z[i] = max(v+y[i], floor)
	}
}

func sgdGo[T Float](w, v, g []T, momentum, decay, rate, gradientRate T) {
	w, v = w[:len(g)], v[:len(g)]
	for i, h := range g {
		h += decay * w[i]
		v[i] = momentum*v[i] + h
		w[i] -= rate*v[i] + gradientRate*h
	}
}

package kernel

import "fmt"

// Axpy adds alpha*x to y, which must be equally long.
func Axpy[T Float](alpha T, x, y []T) {
	checkPair("Axpy", len(x), len(y))
	if x32, ok := any(x).([]float32); ok {
		axpy32(float32(alpha), x32, any(y).([]float32))
		return
	}
	axpyGo(alpha, x, y)
}

// Add adds x to y, which must be equally long.
func Add[T Float](x, y []T) { Axpy(1, x, y) }

// Scale multiplies every value of x by alpha.
func Scale[T Float](alpha T, x []T) {
	if x32, ok := any(x).([]float32); ok {
		scale32(float32(alpha), x32)
		return
	}
	scaleGo(alpha, x)
}

// Sum returns the sum of the values of x, 0 where there are none.
func Sum[T Float](x []T) T {
	if x32, ok := any(x).([]float32); ok {
		return T(sum32(x32))
	}
	return sumGo(x)
}

func axpyGo[T Float](alpha T, x, y []T) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += alpha * v
	}
}

func scaleGo[T Float](alpha T, x []T) {
	for i := range x {
		x[i] *= alpha
	}
}

func sumGo[T Float](x []T) T {
	var a, b, c, d T
	for ; len(x) >= 4; x = x[4:] {
		a += x[0]
		b += x[1]
		c += x[2]
		d += x[3]
	}
	for _, v := range x {
		a += v
	}
	return (a + c) + (b + d)
}

func checkPair(name string, x, y int) {
	if x != y {
		panic(fmt.Sprintf("kernel: %s of %d and %d values", name, x, y))
	}
}

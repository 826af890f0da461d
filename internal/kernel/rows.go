package kernel

import "math"

// What losses do along rows of distances or similarities.

// Sqrt replaces the values of x by their square roots.
func Sqrt[T Float](x []T) {
	if x32, ok := any(x).([]float32); ok {
		sqrt32(x32)
		return
	}
	sqrtGo(x)
}

// Quotients sets w to scale*w/d, or to 0 where d is 0. Both are equally long.
func Quotients[T Float](w, d []T, scale T) {
	checkPair("Quotients", len(w), len(d))
	if w32, ok := any(w).([]float32); ok {
		quotient32(w32, any(d).([]float32), float32(scale))
		return
	}
	quotientGo(w, d, scale)
}

// CountBelow returns how many values of x are below a bound.
func CountBelow[T Float](x []T, bound T) int {
	if x32, ok := any(x).([]float32); ok {
		return countBelow32(x32, float32(bound))
	}
	return countBelowGo(x, bound)
}

// RowRange returns the least and the largest value of x and the least of those that are above a bound; infinities of
// the other end where there is none. NaN is passed over.
func RowRange[T Float](x []T, bound T) (least, most, above T) {
	if x32, ok := any(x).([]float32); ok {
		l, m, a := rowRange32(x32, float32(bound))
		return T(l), T(m), T(a)
	}
	return rowRangeGo(x, bound)
}

// ExpSum sets y, which may be x, to exp((x-center)*scale) and returns the sum of y. In float32 the difference and the
// product are rounded; the exponential function of the product is off by at most 2^-22 of itself, or 2^-149, its
// infinite values beginning at 88.73. The sum runs in float32 in 16 lanes.
func ExpSum[T Float](y, x []T, center, scale T) float64 {
	checkPair("ExpSum", len(y), len(x))
	if x32, ok := any(x).([]float32); ok {
		return float64(expSum32(any(y).([]float32), x32, float32(center), float32(scale)))
	}
	var sum float64
	for i, v := range x {
		e := math.Exp(float64((v - center) * scale))
		y[i] = T(e)
		sum += e
	}
	return sum
}

// symmetrizeBand is the number of rows that Symmetrize hands to a thread at a time: a multiple of the side of the squares
// that are transposed in registers.
const symmetrizeBand = 32

// Symmetrize adds to the square matrix x [n, n] its transpose.
func Symmetrize[T Float](threads, n int, x []T) {
	checkLen("Symmetrize", "the matrix", len(x), n*n)
	bands := (n + symmetrizeBand - 1) / symmetrizeBand
	threads = worthwhile(threads, 16*n*n)
	Parallel(threads, bands, func(band int) {
		band = bands - 1 - band // the longest first
		top, bottom := band*symmetrizeBand, min((band+1)*symmetrizeBand, n)
		if x32, ok := any(x).([]float32); ok {
			symmetrize32(x32, n, top, bottom)
			return
		}
		symmetrizeGo(x, n, top, bottom)
	})
}

// symmetrizeGo adds to what rows [top, bottom) have up to the diagonal its mirror image, and sets that to the sum.
func symmetrizeGo[T Float](x []T, n, top, bottom int) {
	for i := top; i < bottom; i++ {
		for j := range i + 1 {
			v := x[i*n+j] + x[j*n+i]
			x[i*n+j], x[j*n+i] = v, v
		}
	}
}

func sqrtGo[T Float](x []T) {
	for i, v := range x {
		x[i] = T(math.Sqrt(float64(v)))
	}
}

func quotientGo[T Float](w, d []T, scale T) {
	w = w[:len(d)]
	for i, v := range d {
		if v == 0 {
			w[i] = 0
		} else {
			w[i] = scale * w[i] / v
		}
	}
}

func countBelowGo[T Float](x []T, bound T) int {
	count := 0
	for _, v := range x {
		if v < bound {
			count++
		}
	}
	return count
}

func rowRangeGo[T Float](x []T, bound T) (least, most, above T) {
	least, most, above = T(math.Inf(1)), T(math.Inf(-1)), T(math.Inf(1))
	for _, v := range x {
		if v < least {
			least = v
		}
		if v > most {
			most = v
		}
		if v > bound && v < above {
			above = v
		}
	}
	return least, most, above
}

func expSumGo(y, x []float32, center, scale float32) float32 {
	var sums [16]float32
	for i, v := range x {
		y[i] = exp32((v - center) * scale)
		sums[i%16] += y[i]
	}
	for n := 8; n > 0; n /= 2 {
		for l := range n {
			sums[l] += sums[l+n]
		}
	}
	return sums[0]
}

// expLn2 is ln 2 in 15 bits: its product with a whole number below 512 is exact.
const expLn2 = 0x1.62e4p-1

// exp32 is the exponential function: x is a whole number n of ln 2 and a rest of at most half of that, whose exponential
// function is its Taylor polynomial of degree 7, off by less than 2^-27. Adding 1.5*2^23 rounds to a whole number and
// leaves it in the low bits. The factor 2^n comes in two steps, as n goes below the least exponent and beyond the
// largest.
func exp32(x float32) float32 {
	x = max(min(x, 89), -104)
	const round = 0x1.8p23
	shifted := float32(x*math.Log2E) + round
	n := int32(math.Float32bits(shifted) - math.Float32bits(round))
	whole := shifted - round
	x -= float32(whole * expLn2)
	x -= float32(whole * (math.Ln2 - expLn2))
	p := float32(x*(1.0/5040)) + 1.0/720
	p = float32(p*x) + 1.0/120
	p = float32(p*x) + 1.0/24
	p = float32(p*x) + 1.0/6
	p = float32(p*x) + 1.0/2
	p = float32(p*x) + 1
	p = float32(p*x) + 1
	half := n >> 1
	p *= math.Float32frombits(uint32(half+127) << 23)
	return p * math.Float32frombits(uint32(n-half+127)<<23)
}

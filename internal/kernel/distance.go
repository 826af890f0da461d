package kernel

import (
	"fmt"
	"unsafe"
)

// Dot returns the dot product of a and b, which must be equally long.
func Dot(a, b []float32) float32 {
	checkPair("Dot", len(a), len(b))
	return dot(a, b)
}

// SquaredL2 returns the squared Euclidean distance of a and b, which must be equally long.
func SquaredL2(a, b []float32) float32 {
	checkPair("SquaredL2", len(a), len(b))
	return squaredL2(a, b)
}

// DotRows writes to out[i] the dot product of q and row i of rows, which is [len(out), len(q)].
func DotRows(q, rows, out []float32) {
	checkRows("DotRows", len(q), len(rows), len(out))
	dotRows(q, rows, out)
}

// SquaredL2Rows writes to out[i] the squared Euclidean distance of q and row i of rows, which is [len(out), len(q)].
func SquaredL2Rows(q, rows, out []float32) {
	checkRows("SquaredL2Rows", len(q), len(rows), len(out))
	squaredL2Rows(q, rows, out)
}

// SquaredL2Each writes to out[i] the squared Euclidean distance of q and the len(q) values that begin at rows[i], for
// the len(out) pointers of rows: the rows of a search that hops through a graph. The caller answers for the pointers:
// len(q) values must lie behind each (none may be nil unless q is empty).
func SquaredL2Each(q []float32, rows []*float32, out []float32) {
	checkPair("SquaredL2Each", len(rows), len(out))
	squaredL2Each(q, rows, out)
}

func dotGo(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
	}
	b = b[:len(a)]
	for i, v := range a {
		s0 += v * b[i]
	}
	return (s0 + s2) + (s1 + s3)
}

func squaredL2Go(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		d0, d1, d2, d3 := a[0]-b[0], a[1]-b[1], a[2]-b[2], a[3]-b[3]
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
	}
	b = b[:len(a)]
	for i, v := range a {
		d := v - b[i]
		s0 += d * d
	}
	return (s0 + s2) + (s1 + s3)
}

func dotRowsGo(q, rows, out []float32) {
	for i := range out {
		out[i] = dotGo(q, rows[i*len(q):][:len(q)])
	}
}

func squaredL2RowsGo(q, rows, out []float32) {
	for i := range out {
		out[i] = squaredL2Go(q, rows[i*len(q):][:len(q)])
	}
}

func squaredL2EachGo(q []float32, rows []*float32, out []float32) {
	for i := range out {
		out[i] = squaredL2Go(q, unsafe.Slice(rows[i], len(q)))
	}
}

func checkRows(name string, dim, rows, out int) {
	if rows != dim*out {
		panic(fmt.Sprintf("kernel: %s: %d values for %d rows of %d", name, rows, out, dim))
	}
}

package training

import (
	"math"
	"unsafe"

	"imgsearch/internal/kernel"
)

// rectify sets x to max(x, 0).
func rectify[T kernel.Float](x []T) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

// maskTo sets dz to dy where y is above 0 and to 0 elsewhere: the gradient of y = max(z, 0) with respect to z.
func maskTo[T kernel.Float](dz, dy, y []T) {
	dy, y = dy[:len(dz)], y[:len(dz)]
	for i, v := range y {
		dz[i] = whereAbove(v, dy[i])
	}
}

// positive returns all ones where z is above 0 and 0 elsewhere, either for a NaN, without a branch that nobody could
// predict.
func positive[T kernel.Float](z T) uint32 {
	if unsafe.Sizeof(z) == 4 {
		return uint32(-int64(int32(math.Float32bits(float32(z)))) >> 63)
	}
	if z > 0 {
		return math.MaxUint32
	}
	return 0
}

// whereAbove returns v where z is above 0 and 0 elsewhere.
func whereAbove[T kernel.Float](z, v T) T {
	if unsafe.Sizeof(z) == 4 {
		return T(math.Float32frombits(math.Float32bits(float32(v)) & positive(z)))
	}
	if z > 0 {
		return v
	}
	return 0
}

// elementPiece is the number of values that a thread takes at a time from work done value by value.
const elementPiece = 1 << 14

// parallelPieces calls fn for consecutive pieces of n values.
func parallelPieces(threads, n int, fn func(from, to int)) {
	kernel.Parallel(threads, (n+elementPiece-1)/elementPiece, func(i int) {
		fn(i*elementPiece, min((i+1)*elementPiece, n))
	})
}

// addReLU adds max(x, 0).
func addReLU[T kernel.Float](g *graph[T], name string, x *variable[T]) (*variable[T], error) {
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: 0}
	o.run = func() {
		parallelPieces(g.threads, x.len(), func(from, to int) {
			for i, v := range x.data[from:to] {
				y.data[from+i] = max(v, 0)
			}
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		dx, err := addReLUBackward(g, y, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, x.shape, x)
	return y, err
}

// addReLUBackward adds the gradient before a ReLU that made y.
func addReLUBackward[T kernel.Float](g *graph[T], y, grad *variable[T]) (*variable[T], error) {
	var dz *variable[T]
	o := &operation[T]{name: "backward of relu of " + y.name, stops: -1, overwrites: 0, backward: true}
	o.run = func() {
		parallelPieces(g.threads, y.len(), func(from, to int) {
			maskTo(dz.data[from:to], grad.data[from:to], y.data[from:to])
		})
	}
	dz, err := g.add(o, y.shape, grad, y)
	return dz, err
}

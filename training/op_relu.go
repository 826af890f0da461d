package training

import "imgsearch/internal/kernel"

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
		parallelPieces(g.threads, x.len(), func(from, to int) { kernel.ReLU(y.data[from:to], x.data[from:to]) })
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
			kernel.ReLUGradient(dz.data[from:to], grad.data[from:to], y.data[from:to])
		})
	}
	dz, err := g.add(o, y.shape, grad, y)
	return dz, err
}

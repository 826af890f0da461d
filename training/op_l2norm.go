package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// l2Floor is the least length that [addL2Norm] divides by, as PyTorch's normalize has it.
const l2Floor = 1e-12

// addL2Norm adds the division of each row of x [n, f] by its Euclidean length.
func addL2Norm[T kernel.Float](g *graph[T], name string, x *variable[T]) (*variable[T], error) {
	n, f := x.shape[0], x.shape[1]
	scale := make([]T, n)
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		kernel.Parallel(l2Threads(g.threads, n*f), n, func(i int) {
			scale[i] = normalizeRow(y.data[i*f:][:f], x.data[i*f:][:f])
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: 0, backward: true}
		b.run = func() {
			kernel.Parallel(l2Threads(g.threads, n*f), n, func(i int) {
				normalizeRowBackward(dx.data[i*f:][:f], grad.data[i*f:][:f], y.data[i*f:][:f], scale[i])
			})
		}
		dx, err := g.add(b, x.shape, grad, y)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, x.shape, x)
	return y, err
}

// l2Threads is how many of so many threads are worth their start for n values.
func l2Threads(threads, n int) int { return min(threads, 1+n/(1<<14)) }

// normalizeRow sets y to x divided by its length and returns what it multiplied by.
func normalizeRow[T kernel.Float](y, x []T) T {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	scale := T(1 / max(math.Sqrt(sum), l2Floor))
	for i, v := range x {
		y[i] = v * scale
	}
	return scale
}

// normalizeRowBackward sets dx, which may be dy, to the gradient with respect to the row that was multiplied by scale to
// become y. A row of zeros gets the gradient of the plain multiplication, as in PyTorch.
func normalizeRowBackward[T kernel.Float](dx, dy, y []T, scale T) {
	var along float64
	for i, v := range dy {
		along += float64(v) * float64(y[i])
	}
	for i, v := range dy {
		dx[i] = T((float64(v) - along*float64(y[i])) * float64(scale))
	}
}

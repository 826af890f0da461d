package training

import "imgsearch/internal/kernel"

// residual adds the input of some layers to their output. Where the input is needed twice, gorgonia would add up its two
// gradients by an operation of its own, which allocates; instead the input passes through a fork, whose backward
// operation adds the gradient of the sum to that of the layers.
type residual[T kernel.Float] struct {
	graph    *graph[T]
	name     string
	input    *variable[T]
	skipGrad *variable[T]
}

// fork returns what the layers get as input.
func (r *residual[T]) fork(x *variable[T]) (*variable[T], error) {
	r.input = x
	o := &operation[T]{name: r.name + " fork", run: func() {}, stops: -1, overwrites: -1}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + r.name + " fork", stops: -1, overwrites: 0, backward: true}
		b.run = func() {
			parallelPieces(r.graph.threads, dx.len(), func(from, to int) {
				kernel.AddInto(dx.data[from:to], grad.data[from:to], r.skipGrad.data[from:to], false)
			})
		}
		dx, err := r.graph.add(b, x.shape, grad, r.skipGrad)
		return []*variable[T]{dx}, err
	}
	y, err := r.graph.add(o, x.shape, x)
	if err != nil {
		return nil, err
	}
	y.alias = x
	return y, nil
}

// join adds body + input, with ReLU where asked for. A batch normalisation at the end of the body does without: see
// [addBatchNorm].
func (r *residual[T]) join(body *variable[T], relu bool) (*variable[T], error) {
	x := r.input
	var y *variable[T]
	o := &operation[T]{name: r.name, stops: 1, overwrites: 0}
	o.run = func() {
		parallelPieces(r.graph.threads, y.len(), func(from, to int) {
			kernel.AddInto(y.data[from:to], body.data[from:to], x.data[from:to], relu)
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		if relu {
			var err error
			if grad, err = addReLUBackward(r.graph, y, grad); err != nil {
				return nil, err
			}
		}
		r.skipGrad = grad
		return []*variable[T]{grad, nil}, nil
	}
	y, err := r.graph.add(o, body.shape, body, x)
	return y, err
}

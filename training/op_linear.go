package training

import "imgsearch/internal/kernel"

// linearFactorRows is the number of rows up to which the gradient of a linear layer's weight is kept as factors: with
// so few, writing and reading the product takes longer than multiplying it out piece by piece in the solver.
const linearFactorRows = 8

// linear holds what the forward and the backward operation of y = x W^T + b share.
type linear[T kernel.Float] struct {
	graph        *graph[T]
	rows, in, to int
	x, y         *variable[T]
	weight       *parameter[T]
	bias         *parameter[T] // nil: none
	relu         bool
	grad, dx     *variable[T]
}

// addLinear adds a linear layer on x [rows, in], with ReLU where asked for.
func addLinear[T kernel.Float](g *graph[T], name string, x *variable[T], weight, bias *parameter[T], relu bool) (*variable[T], error) {
	l := &linear[T]{graph: g, rows: x.shape[0], in: x.shape[1], to: weight.shape[0], x: x, weight: weight, bias: bias, relu: relu}
	o := &operation[T]{name: name, run: l.forward, diff: l.differentiate, stops: -1, overwrites: -1}
	args := []*variable[T]{x, weight.variable}
	if bias != nil {
		args = append(args, bias.variable)
	}
	y, err := g.add(o, []int{l.rows, l.to}, args...)
	l.y = y
	return y, err
}

func (l *linear[T]) forward() {
	kernel.GemmParallel(l.graph.threads, false, true, l.rows, l.to, l.in, 1, l.x.data, l.in, l.weight.data, l.in, 0, l.y.data, l.to)
	for r := range l.rows {
		row := l.y.data[r*l.to:][:l.to]
		if l.bias != nil {
			kernel.Add(l.bias.data, row)
		}
		if l.relu {
			kernel.ReLU(row, row)
		}
	}
}

func (l *linear[T]) differentiate(grad *variable[T]) ([]*variable[T], error) {
	if l.relu {
		var err error
		if grad, err = addReLUBackward(l.graph, l.y, grad); err != nil {
			return nil, err
		}
	}
	l.grad = grad
	if l.weight.trainable && l.rows <= linearFactorRows && !l.graph.dense {
		l.weight.gradient = nil
		l.weight.factors = &factors[T]{
			rows: l.rows, out: l.to, in: l.in,
			left: func() []T { return l.grad.data }, right: func() []T { return l.x.data },
		}
		l.x.root().keep, grad.root().keep = true, true
	}
	shape := l.x.shape
	if !l.x.needsGradient {
		shape = []int{1}
	}
	o := &operation[T]{name: "backward of " + l.y.name, run: l.backward, stops: -1, overwrites: -1, backward: true}
	dx, err := l.graph.add(o, shape, grad, l.x, l.weight.variable)
	if err != nil {
		return nil, err
	}
	l.dx = dx
	return parameterGradients(l.graph, dx, l.x, l.weight, l.bias)
}

func (l *linear[T]) backward() {
	dz := l.grad.data
	if l.bias != nil && l.bias.trainable {
		copy(l.bias.gradient, dz[:l.to])
		for r := 1; r < l.rows; r++ {
			kernel.Add(dz[r*l.to:][:l.to], l.bias.gradient)
		}
	}
	if l.weight.trainable && l.weight.factors == nil {
		kernel.GemmParallel(l.graph.threads, true, false, l.to, l.in, l.rows, 1, dz, l.to, l.x.data, l.in, 0, l.weight.gradient, l.in)
	}
	if l.x.needsGradient {
		kernel.GemmParallel(l.graph.threads, false, false, l.rows, l.in, l.to, 1, dz, l.to, l.weight.data, l.in, 0, l.dx.data, l.in)
	}
}
